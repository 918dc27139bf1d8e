"""Attention against float64, and against PyTorch where a meaning has to be decided."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tvm
import tvm_ffi
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import tirx

from sam3port.kernels.cpu.attention.attention import attention_func
from sam3port.kernels.cpu.attention.spec import AttentionSpec
from sam3port.kernels.cpu.formats.cpu import Cpu
from sam3port.kernels.cpu.formats.float32 import FLOAT32
from sam3port.kernels.cpu.formats.format import Arithmetic
from tests.kernels.running import CPU, IN_FLOAT32, Array, assert_as_exact, compile_function, random, run

torch = pytest.importorskip("torch")


def plain(q: Array, k: Array, v: Array, bias: Array | None, scale: float, dtype: Any) -> Array:
    """``softmax(q k^T * scale + bias) v`` as PyTorch computes it when it is spelled out."""
    q_, k_, v_ = (torch.from_numpy(x).to(dtype) for x in (q, k, v))
    scores = q_ @ k_.transpose(-1, -2) * scale
    if bias is not None:
        scores = scores + torch.from_numpy(bias).to(dtype)
    return np.asarray((torch.softmax(scores, -1) @ v_).numpy())


def operands(spec: AttentionSpec, stretch: float = 1.0) -> list[Array]:
    q = random(0, spec.batch, spec.heads, spec.queries, spec.features) * np.float32(stretch)
    k = random(1, spec.batch, spec.heads, spec.keys, spec.features)
    v = random(2, spec.batch, spec.heads, spec.keys, spec.value_features)
    return [q, k, v, *([random(3, *spec.bias)] if spec.bias is not None else [])]


def check(spec: AttentionSpec, stretch: float = 1.0) -> None:
    arrays = operands(spec, stretch)
    q, k, v = arrays[:3]
    bias = arrays[3] if spec.bias is not None else None
    ours = run(attention_func(spec, IN_FLOAT32), arrays, (*q.shape[:3], spec.value_features))
    assert_as_exact(
        ours,
        plain(q, k, v, bias, spec.scale, torch.float32),
        plain(q, k, v, bias, spec.scale, torch.float64),
    )


@pytest.mark.parametrize("features", [16, 32, 64, 128])
def test_heads_of_usual_sizes(features: int) -> None:
    check(AttentionSpec(1, 2, 41, 83, features, features, scale=features**-0.5))


@pytest.mark.parametrize("stretch", [30.0, 300.0])
@pytest.mark.parametrize("keys", [30, 600])
def test_large_scores(stretch: float, keys: int) -> None:
    check(AttentionSpec(1, 3, 50, keys, 16, 16, scale=0.25), stretch)


@pytest.mark.parametrize(
    ("batch", "heads", "queries", "keys", "features", "value_features"),
    [
        (1, 1, 1, 1, 1, 1),
        (2, 3, 7, 9, 20, 12),
        (1, 1, 6, 64, 64, 64),
        (2, 2, 101, 257, 32, 32),
        (1, 4, 200, 1297, 32, 32),
        (3, 1, 576, 576, 64, 64),
        (1, 2, 5, 300, 24, 136),
        (1, 1, 40, 70, 300, 17),
    ],
)
def test_sizes(batch: int, heads: int, queries: int, keys: int, features: int, value_features: int) -> None:
    check(AttentionSpec(batch, heads, queries, keys, features, value_features, scale=features**-0.5))


@settings(max_examples=5, deadline=None, derandomize=True)
@given(queries=st.integers(1, 120), keys=st.integers(1, 400), features=st.integers(1, 70), biased=st.booleans())
def test_any_size(queries: int, keys: int, features: int, biased: bool) -> None:
    bias = (1, 2, queries, keys) if biased else None
    check(AttentionSpec(1, 2, queries, keys, features, features, scale=features**-0.5, bias=bias))


@pytest.mark.parametrize("bias", [(2, 3, 33, 129), (1, 3, 33, 129), (2, 1, 1, 129), (1, 1, 1, 129), (2, 1, 33, 1)])
def test_bias_is_broadcast(bias: tuple[int, int, int, int]) -> None:
    check(AttentionSpec(2, 3, 33, 129, 16, 16, scale=0.25, bias=bias))


def test_concentrated_weights() -> None:
    """Scores of several hundred: each block of keys may bring a new largest one."""
    check(AttentionSpec(1, 2, 50, 700, 64, 64, scale=0.125), stretch=50.0)


@pytest.mark.parametrize("position", range(4))
def test_layouts(position: int) -> None:
    spec = AttentionSpec(2, 3, 10, 21, 16, 24, scale=0.25)
    arrays: list[Any] = operands(spec)
    usual = run(attention_func(spec, IN_FLOAT32), arrays, (2, 3, 10, 24))
    layouts = ["BHLD"] * 4
    layouts[position] = "BLHD"
    changed = replace(spec, layouts=tuple(layouts))
    if position < 3:
        arrays[position] = arrays[position].transpose(0, 2, 1, 3)
        out = run(attention_func(changed, IN_FLOAT32), arrays, (2, 3, 10, 24))
    else:
        out = run(attention_func(changed, IN_FLOAT32), arrays, (2, 10, 3, 24)).transpose(0, 2, 1, 3)
    np.testing.assert_array_equal(out, usual)


def masked(hidden: Array, empty_rows: Any) -> tuple[Array, Array, list[Array]]:
    queries, keys = hidden.shape
    spec = AttentionSpec(1, 1, queries, keys, 16, 16, 0.25, bias=(1, 1, queries, keys), empty_rows=empty_rows)
    arrays = operands(spec)
    arrays[3] = np.where(hidden, np.float32(-np.inf), np.float32(0))[None, None]
    return run(attention_func(spec, IN_FLOAT32), arrays, (1, 1, queries, 16)), arrays[3], arrays


def test_hidden_keys_do_not_count() -> None:
    """Also where the first blocks of keys are hidden as a whole, and where only one key is left."""
    hidden = np.zeros((9, 700), dtype=bool)
    hidden[1, :600], hidden[2, 10:], hidden[3, :699], hidden[4, ::2] = True, True, True, True
    ours, bias, (q, k, v, _) = masked(hidden, "zero")
    v[0, 0, hidden[3]] = np.nan  # would spoil row 3 if a weight were not exactly zero; used below only for row 3
    exact = plain(q, k, np.nan_to_num(v), bias, 0.25, torch.float64)
    np.testing.assert_allclose(ours[0, 0, 3], exact[0, 0, 3], rtol=1e-6)
    v = operands(AttentionSpec(1, 1, 9, 700, 16, 16, 0.25))[2]
    assert_as_exact(ours, plain(q, k, v, bias, 0.25, torch.float32), plain(q, k, v, bias, 0.25, torch.float64))


def test_rows_that_see_nothing_are_as_in_pytorch() -> None:
    hidden = np.zeros((7, 300), dtype=bool)
    hidden[[0, 4]] = True
    ours, bias, (q, k, v, _) = masked(hidden, "zero")
    tensors = [torch.from_numpy(x) for x in (q, k, v, bias)]
    theirs = torch.nn.functional.scaled_dot_product_attention(*tensors[:3], attn_mask=tensors[3], scale=0.25).numpy()
    assert (ours[0, 0, [0, 4]] == 0).all()
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    spelled_out, *_ = masked(hidden, "nan")
    assert np.isnan(spelled_out[0, 0, [0, 4]]).all()
    np.testing.assert_array_equal(np.isnan(spelled_out), np.isnan(plain(q, k, v, bias, 0.25, torch.float32)))


@pytest.mark.parametrize(("queries", "keys", "offset"), [(70, 70, 0), (33, 129, 0), (20, 50, 30)])
def test_causal(queries: int, keys: int, offset: int) -> None:
    spec = AttentionSpec(1, 2, queries, keys, 16, 16, 0.25, causal_offset=offset)
    q, k, v = operands(spec)
    hidden = np.arange(keys)[None] > np.arange(queries)[:, None] + offset
    bias = np.where(hidden, -np.inf, 0).astype(np.float32)[None, None]
    ours = run(attention_func(spec, IN_FLOAT32), [q, k, v], q.shape)
    assert_as_exact(ours, plain(q, k, v, bias, 0.25, torch.float32), plain(q, k, v, bias, 0.25, torch.float64))


def test_unknown_lengths() -> None:
    queries, keys, batch = (tirx.Var(name, "int64") for name in ("q", "k", "b"))
    spec = AttentionSpec(batch, 2, queries, keys, 16, 16, 0.25, bias=(batch, 1, 1, keys))
    kernel = compile_function(attention_func(spec, IN_FLOAT32))
    for lengths in ((1, 1, 1), (2, 30, 65), (1, 150, 301)):
        known = replace(spec, batch=lengths[0], queries=lengths[1], keys=lengths[2])
        q, k, v, bias = operands(replace(known, bias=(lengths[0], 1, 1, lengths[2])))
        out = tvm.runtime.tensor(np.full(q.shape, np.nan, dtype=np.float32))
        kernel(*[tvm.runtime.tensor(x) for x in (q, k, v, bias)], out)
        assert_as_exact(
            out.numpy(), plain(q, k, v, bias, 0.25, torch.float32), plain(q, k, v, bias, 0.25, torch.float64)
        )


def test_scores_are_never_held() -> None:
    """All scratch memory of a global attention together is a fraction of its scores."""
    spec = AttentionSpec(1, 16, 5184, 5184, 64, 64, scale=0.125)
    sizes: list[int] = []

    def count(allocation: Any) -> None:
        dims = [int(dim) for dim in allocation.buffer.ty.shape]
        sizes.append(int(np.prod(dims)))

    tvm_ffi.structural_walk(attention_func(spec, IN_FLOAT32).body, (tirx.AllocBuffer, count))
    assert len(sizes) > 5, "no allocations found: the check is blind"
    packed = 2 * 16 * 5184 * 64
    assert sum(sizes) < 1.1 * packed < 0.05 * 16 * 5184 * 5184


def turned(x: Array, rotations: Array) -> Array:
    """Rotary encoding by complex numbers, as upstream has it (sam3/model/vitdet.py:68-90)."""
    pairs = x.astype(np.float64).view(np.complex128)
    return np.ascontiguousarray(pairs * rotations.astype(np.float64).view(np.complex128)).view(np.float64)


def rotations(length: int, features: int) -> Array:
    angles = np.random.default_rng(9).uniform(-np.pi, np.pi, (length, features // 2))
    return np.stack([np.cos(angles), np.sin(angles)], -1).reshape(length, features).astype(np.float32)


@pytest.mark.parametrize(("length", "features"), [(1, 2), (64, 16), (83, 20), (130, 64), (33, 6)])
@pytest.mark.parametrize("cpu", [CPU, Cpu(1, 16, 2), Cpu(4, 32, 2), Cpu(16, 32, 2)], ids=str)
def test_rotary(length: int, features: int, cpu: Cpu) -> None:
    arithmetic = Arithmetic(cpu, FLOAT32)
    spec = AttentionSpec(2, 3, length, length, features, 16, features**-0.5, rotary=True)
    q, k, v = operands(spec)
    table = rotations(length, features)
    ours = run(attention_func(spec, arithmetic), [q, k, v, table], (*q.shape[:3], 16))
    exact = [turned(x, table) for x in (q, k)]
    assert_as_exact(
        ours,
        plain(*[x.astype(np.float32) for x in exact], v, None, spec.scale, torch.float32),
        plain(*exact, v, None, spec.scale, torch.float64),
    )


@pytest.mark.parametrize("layout", ["BHLD", "BLHD"])
def test_parts_of_one_tensor(layout: Any) -> None:
    """Queries, keys and values, in another order, where one layer left them."""
    spec = AttentionSpec(2, 3, 70, 70, 16, 16, scale=0.25)
    arrays = operands(spec)
    usual = run(attention_func(spec, IN_FLOAT32), arrays, (2, 3, 70, 16))
    together = np.concatenate([arrays[1], arrays[2], arrays[0]], axis=1)
    if layout == "BLHD":
        together = together.transpose(0, 2, 1, 3)
    within = replace(spec, layouts=(layout, layout, layout, "BHLD"), parts=((2, 3), (0, 3), (1, 3)))
    out = run(attention_func(within, IN_FLOAT32), [together] * 3, (2, 3, 70, 16))
    np.testing.assert_array_equal(out, usual)
