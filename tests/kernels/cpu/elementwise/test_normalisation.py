"""Norms and softmax against PyTorch in float64; no less exact than PyTorch's own in float32."""

from __future__ import annotations

import numpy as np
import pytest

from sam3port.kernels.cpu.elementwise import normalisation as kernels
from tests.kernels.running import CPU, assert_as_exact, random, run

torch = pytest.importorskip("torch")
functional = torch.nn.functional


@pytest.mark.parametrize(("rows", "length"), [(1, 1), (3, 5), (101, 64), (7, 1000), (300, 1024)])
@pytest.mark.parametrize("mean", [0.0, 1000.0])
def test_layer_norm(rows: int, length: int, mean: float) -> None:
    """A large mean: E[x^2] - E[x]^2 in float32 would have no correct digit."""
    x, gamma, beta = random(0, rows, length) + np.float32(mean), random(1, length), random(2, length)
    tensors = [torch.from_numpy(array) for array in (x, gamma, beta)]
    theirs = functional.layer_norm(tensors[0], (length,), tensors[1], tensors[2], 1e-5).numpy()
    wide = [tensor.double() for tensor in tensors]
    exact = functional.layer_norm(wide[0], (length,), wide[1], wide[2], 1e-5).numpy()
    ours = run(kernels.layer_norm_func(rows, length, 1e-5, CPU), [x, gamma, beta], x.shape)
    # The rounding of the mean, as large as x, counts in units of the deviation.
    terms = float((np.abs(x) / np.sqrt(x.astype(np.float64).var(-1, keepdims=True) + 1e-5)).max())
    assert_as_exact(ours, theirs, exact, terms=terms * float(np.abs(gamma).max()))


@pytest.mark.parametrize(("rows", "length"), [(1, 1), (2, 33), (500, 77), (3, 5184)])
def test_softmax(rows: int, length: int) -> None:
    x = random(0, rows, length) * np.float32(20)
    exact = torch.softmax(torch.from_numpy(x).double(), -1).numpy()
    theirs = torch.softmax(torch.from_numpy(x), -1).numpy()
    assert_as_exact(run(kernels.softmax_func(rows, length, CPU), [x], x.shape), theirs, exact)


def test_softmax_of_infinities_is_as_in_pytorch() -> None:
    x = random(0, 4, 40)
    x[0], x[1, :39] = -np.inf, -np.inf
    ours = run(kernels.softmax_func(4, 40, CPU), [x], x.shape)
    theirs = torch.softmax(torch.from_numpy(x), -1).numpy()
    assert np.isnan(ours[0]).all()
    np.testing.assert_allclose(ours, theirs, atol=1e-7)


@pytest.mark.parametrize(
    ("batch", "channels", "size", "groups"), [(1, 8, 2, 8), (2, 64, 37 * 41, 8), (1, 6, 17, 2), (3, 4, 100, 1)]
)
@pytest.mark.parametrize("mean", [0.0, 300.0])
def test_group_norm(batch: int, channels: int, size: int, groups: int, mean: float) -> None:
    x = random(0, batch, channels, size) + np.float32(mean)
    gamma, beta = random(1, channels), random(2, channels)
    tensors = [torch.from_numpy(array) for array in (x, gamma, beta)]
    theirs = functional.group_norm(tensors[0], groups, tensors[1], tensors[2]).numpy()
    wide = [tensor.double() for tensor in tensors]
    exact = functional.group_norm(wide[0], groups, wide[1], wide[2]).numpy()
    function = kernels.group_norm_func(batch, channels, size, groups, 1e-5, CPU)
    lines = x.astype(np.float64).reshape(batch, groups, -1)
    terms = float((np.abs(lines) / np.sqrt(lines.var(-1, keepdims=True) + 1e-5)).max())
    ours = run(function, [x, gamma, beta], x.shape)
    assert_as_exact(ours, theirs, exact, terms=terms * float(np.abs(gamma).max()))
