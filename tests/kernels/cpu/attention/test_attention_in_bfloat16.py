"""Attention in bfloat16, where a CPU multiplies pairs of it: no further from float64 than PyTorch's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sam3port.kernels.cpu.attention.attention import attention_func
from sam3port.kernels.cpu.attention.spec import AttentionSpec
from sam3port.kernels.cpu.formats.policy import Kind, Site, arithmetic_for
from sam3port.kernels.cpu.scheduling.schedules import AttentionSchedule, attention_schedule
from tests.kernels.cpu.attention.test_attention import operands
from tests.kernels.running import IN_FLOAT32, Array, run
from tests.kernels.stand_in import PAIRED, WITHOUT_PAIRS, stand_in

torch = pytest.importorskip("torch")

__all__ = ["stand_in"]
pytestmark = pytest.mark.usefixtures("stand_in")


def plain(spec: AttentionSpec, arrays: list[Array], dtype: Any) -> Array:
    """PyTorch's, in bfloat16 from operands to result, or in float64."""
    q, k, v, *bias = (torch.from_numpy(array).to(dtype) for array in arrays)
    mask = bias[0] if bias else None
    if spec.causal_offset is not None:
        mask = torch.ones(spec.queries, spec.keys, dtype=torch.bool).tril(spec.causal_offset)
    result = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=spec.scale)
    return np.asarray(result.to(torch.float64).numpy())


def check(spec: AttentionSpec, stretch: float = 1.0, schedule: AttentionSchedule | None = None) -> None:
    """On average as exact as PyTorch, to the luck of few numbers; the worst number is luck in any case."""
    arrays = operands(spec, stretch)
    ours = run(attention_func(spec, PAIRED, schedule), arrays, (*arrays[0].shape[:3], spec.value_features))
    exact = plain(spec, arrays, torch.float64)
    error, theirs = np.abs(ours - exact), np.abs(plain(spec, arrays, torch.bfloat16) - exact)
    luck = np.abs(exact).max() * 2.0**-9 / np.sqrt(exact.size)
    assert error.mean() <= 1.2 * theirs.mean() + luck
    assert error.max() <= 4 * theirs.max() + luck


@pytest.mark.parametrize(
    ("batch", "heads", "queries", "keys", "features", "value_features"),
    [
        (1, 2, 1, 2, 2, 3),
        (2, 3, 7, 9, 20, 12),
        (1, 1, 6, 64, 64, 64),
        (1, 2, 101, 257, 32, 32),
        (2, 1, 576, 576, 64, 64),
        (1, 2, 97, 101, 33, 35),
        (1, 2, 5, 1300, 24, 136),
        (1, 1, 40, 70, 300, 17),
    ],
)
def test_sizes(batch: int, heads: int, queries: int, keys: int, features: int, value_features: int) -> None:
    check(AttentionSpec(batch, heads, queries, keys, features, value_features, scale=features**-0.5))


@settings(max_examples=5, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(queries=st.integers(1, 120), keys=st.integers(8, 400), features=st.integers(4, 70), biased=st.booleans())
def test_any_size(queries: int, keys: int, features: int, biased: bool) -> None:
    bias = (1, 2, queries, keys) if biased else None
    check(AttentionSpec(1, 2, queries, keys, features, features, scale=features**-0.5, bias=bias))


def test_later_keys_do_not_count() -> None:
    check(AttentionSpec(1, 2, 150, 150, 32, 32, scale=0.2, causal_offset=0))


def test_concentrated_weights() -> None:
    """Each block of keys may bring a new largest score."""
    check(AttentionSpec(1, 2, 50, 700, 64, 64, scale=0.125), stretch=8.0)


@pytest.mark.parametrize(("vectors", "value_vectors", "block_keys"), [(1, 1, 64), (3, 2, 200), (2, 3, 512)])
def test_other_schedules(vectors: int, value_vectors: int, block_keys: int) -> None:
    """A panel of an odd number of vectors has words for half a register."""
    spec = AttentionSpec(1, 2, 50, 700, 40, 72, scale=0.125)
    schedule = attention_schedule(spec.queries, spec.keys, spec.value_features, PAIRED.cpu)
    check(spec, schedule=replace(schedule, vectors=vectors, value_vectors=value_vectors, block_keys=block_keys))


def test_it_is_bfloat16() -> None:
    """And not float32 under another name: its errors are those of rounded operands, 2**-9 of their size."""
    spec = AttentionSpec(1, 2, 60, 300, 64, 64, scale=0.125)
    arrays = operands(spec)
    exact = plain(spec, arrays, torch.float64)
    site = Site(Kind.ATTENTION, spec.queries)
    ours, float32, without = (
        np.abs(run(attention_func(spec, arithmetic), arrays, exact.shape) - exact).mean()
        for arithmetic in (PAIRED, IN_FLOAT32, arithmetic_for(site, WITHOUT_PAIRS, "bfloat16"))
    )
    assert ours > 100 * float32
    assert without == float32, "without an instruction it stays float32"


def test_hidden_rows_and_nan() -> None:
    spec = AttentionSpec(1, 1, 20, 90, 16, 16, scale=0.25, bias=(1, 1, 20, 90))
    arrays = operands(spec)
    arrays[3][0, 0, 3] = -np.inf
    arrays[0][0, 0, 7, 2] = np.nan
    ours = run(attention_func(spec, PAIRED), arrays, (1, 1, 20, 16))[0, 0]
    assert (ours[3] == 0).all()
    assert np.isnan(ours[7]).all()
    assert not np.isnan(np.delete(ours, 7, 0)).any()
    (nan,) = (run(attention_func(replace(spec, empty_rows="nan"), PAIRED), arrays, (1, 1, 20, 16)),)
    assert np.isnan(nan[0, 0, 3]).all()
