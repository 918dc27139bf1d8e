"""Layer norm over channels against PyTorch in float64; no less exact than PyTorch's own in float32; and found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sam3port.kernels.cpu.dispatch import find
from sam3port.kernels.cpu.elementwise.channel_norm import channel_norm_func
from sam3port.kernels.cpu.patterns.options import Options
from tests.kernels.running import CPU, assert_as_exact, random, run

torch = pytest.importorskip("torch")
EPSILON = 1e-6


def written_out(x: Any, weight: Any, bias: Any) -> Any:
    mean = x.mean(1, keepdim=True)
    variance = (x - mean).pow(2).mean(1, keepdim=True)
    return weight[:, None, None] * ((x - mean) / torch.sqrt(variance + EPSILON)) + bias[:, None, None]


@pytest.mark.parametrize(
    ("batch", "channels", "height", "width"),
    [(1, 1, 1, 1), (1, 2, 5, 1), (2, 4, 8, 12), (1, 16, 37, 41), (3, 63, 9, 7), (1, 256, 72, 72), (2, 1021, 2, 3)],
)
@pytest.mark.parametrize("mean", [0.0, 1000.0])
def test_channel_norm(batch: int, channels: int, height: int, width: int, mean: float) -> None:
    """A large mean: E[x^2] - E[x]^2 in float32 would have no correct digit."""
    x = random(0, batch, channels, height, width) + np.float32(mean)
    weight, bias = random(1, channels), random(2, channels)
    tensors = [torch.from_numpy(array) for array in (x, weight, bias)]
    theirs = written_out(*tensors).numpy()
    exact = written_out(*(tensor.double() for tensor in tensors)).numpy()
    function = channel_norm_func(
        batch, channels, height * width, EPSILON, CPU, ("multiply_vector", "add_vector")
    )  # fmt: skip
    flat = (batch, channels, height * width)
    ours = run(function, [x.reshape(flat), weight, bias], flat).reshape(x.shape)
    # The rounding of the mean, as large as x, counts in units of the deviation.
    deviation = np.sqrt(x.astype(np.float64).var(1, keepdims=True) + EPSILON)
    terms = float((np.abs(x) / deviation).max() * np.abs(weight).max())
    assert_as_exact(ours, theirs, exact, terms=terms)


def test_the_steps_that_follow() -> None:
    x, weight, residual = random(0, 2, 5, 50), random(1, 5), random(2, 2, 5, 50)
    function = channel_norm_func(2, 5, 50, EPSILON, CPU, ("multiply_vector", "gelu", "add_tensor"))
    ours = run(function, [x, weight, residual], x.shape)

    def chain(dtype: Any) -> Any:
        given, scale, other = (torch.from_numpy(array).to(dtype) for array in (x, weight, residual))
        centred = given - given.mean(1, keepdim=True)
        normal = centred / torch.sqrt((centred * centred).mean(1, keepdim=True) + EPSILON)
        return (torch.nn.functional.gelu(normal * scale[:, None]) + other).numpy()

    assert_as_exact(ours, chain(torch.float32), chain(torch.float64))


class Norm(torch.nn.Module):  # type: ignore[misc]
    """As SAM writes it, or with one thing changed."""

    def __init__(self, change: str = "") -> None:
        super().__init__()
        self.weight, self.bias = torch.nn.Parameter(torch.rand(6)), torch.nn.Parameter(torch.rand(6))
        self.change = change

    def forward(self, x: Any) -> Any:
        axis = 2 if self.change == "another axis" else 1
        mean = x.mean(axis, keepdim=True)
        other = x.mean(3, keepdim=True) if self.change == "two means" else mean
        variance = (x - other).pow(2).mean(axis, keepdim=True)
        x = (x - mean) / torch.sqrt(variance + EPSILON)
        return torch.nn.functional.gelu(self.weight[:, None, None] * x + self.bias[:, None, None])


@pytest.mark.parametrize(
    ("change", "kernels"), [("", ["channel_norm"]), ("another axis", []), ("two means", [])]
)  # fmt: skip
def test_it_is_found_where_it_is(change: str, kernels: list[str]) -> None:
    from tvm.relax.frontend.torch import from_exported_program

    program = torch.export.export(Norm(change), (torch.rand(1, 6, 8, 6),))
    module = from_exported_program(program, keep_params_as_input=True)
    assert [each.kernel for each in find(module["main"], Options(CPU))] == kernels
