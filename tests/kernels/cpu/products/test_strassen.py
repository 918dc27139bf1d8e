"""Seven products in place of eight, against numpy in float64. They cost digits: how many, is bounded here.

What is halved, and how it is cut, does not depend on the registers: a arithmetic with few of them is compiled ten times
faster, and what this machine's own computes is compared at two sizes.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm.target import Target

from sam3port.kernels.cpu.codegen.epilogue import Epilogue
from sam3port.kernels.cpu.formats.bfloat16 import WIDENED
from sam3port.kernels.cpu.formats.cpu import Cpu, cpu_of
from sam3port.kernels.cpu.formats.float32 import FLOAT32
from sam3port.kernels.cpu.formats.format import Arithmetic
from sam3port.kernels.cpu.products import gemm
from sam3port.kernels.cpu.scheduling.schedules import ProductSchedule, linear_schedule
from sam3port.kernels.cpu.scheduling.tiles import tile_size
from sam3port.kernels.cpu.workloads.workload import LinearWork
from tests.kernels.running import CPU, IN_FLOAT32, Array, assert_as_exact, compile_function, random, run

LOST = 3.0
"""Times numpy's error in float32."""
SMALL = Arithmetic(Cpu(lanes=4, registers=8, cores=2, unroll=1), FLOAT32)
"""Tiles of 3 x 2 vectors."""


def columns(arithmetic: Arithmetic = SMALL) -> int:
    """Of a pair of panels."""
    return 2 * tile_size(arithmetic.cpu, None, None).vectors * arithmetic.cpu.lanes


def halved(arithmetic: Arithmetic = SMALL, **sizes: int) -> ProductSchedule:
    tile = tile_size(arithmetic.cpu, None, None)
    values = {"block_rows": 432, **sizes}
    return ProductSchedule(tile.rows, tile.vectors, arithmetic.cpu.unroll, halvings=1, **values)


def product(
    x: Array,
    weight: Array,
    schedule: ProductSchedule,
    steps: Epilogue = (),
    *operands: Array,
    arithmetic: Arithmetic = SMALL,
) -> Array:
    (m, k), n = x.shape, len(weight)
    function = gemm.linear_func(m, n, k, arithmetic, steps, schedule)
    return run(function, [x, gemm.pack_weight(weight, arithmetic, schedule), *operands], (m, n))


def exact(x: Array, weight: Array) -> Array:
    return np.asarray(x.astype(np.float64) @ weight.astype(np.float64).T)


@pytest.mark.parametrize(
    ("m", "pairs", "k", "sizes"),
    [
        (1152, 8, 256, {}),
        (1031, 2, 520, {}),
        (12, 1, 2, {}),
        (13, 3, 18, {"block_rows": 12}),
        (1, 1, 4, {}),
        (97, 5, 1000, {"block_rows": 48, "chunk": 64, "window": 1 << 12}),
        (433, 3, 514, {"window": 1}),
        (864, 2, 20_000, {}),
    ],
)
def test_shapes(m: int, pairs: int, k: int, sizes: dict[str, int]) -> None:
    x, weight = random(0, m, k), random(1, pairs * columns(), k)
    ours = product(x, weight, halved(**sizes))
    assert_as_exact(ours, x @ weight.T, exact(x, weight), LOST, terms=float((np.abs(x) @ np.abs(weight.T)).max()))


@pytest.mark.parametrize(("m", "pairs", "k"), [(1152, 8, 256), (1031, 2, 520)])
def test_shapes_with_the_registers_of_this_machine(m: int, pairs: int, k: int) -> None:
    x, weight = random(0, m, k), random(1, pairs * columns(IN_FLOAT32), k)
    ours = product(x, weight, halved(IN_FLOAT32), arithmetic=IN_FLOAT32)
    assert_as_exact(ours, x @ weight.T, exact(x, weight), LOST, terms=float((np.abs(x) @ np.abs(weight.T)).max()))


@settings(max_examples=8, deadline=None, derandomize=True)
@given(m=st.integers(1, 200), pairs=st.integers(1, 3), half=st.integers(1, 300), data=st.data())
def test_any_size_and_schedule(m: int, pairs: int, half: int, data: st.DataObject) -> None:
    n, k = pairs * columns(), 2 * half
    blocks, chunks, windows = (st.sampled_from(each) for each in ((12, 48, 432), (16, 64, 256), (1, 1 << 12, 1 << 15)))
    schedule = halved(block_rows=data.draw(blocks), chunk=data.draw(chunks), window=data.draw(windows))
    x, weight = random(m, m, k), random(n, n, k)
    ours = product(x, weight, schedule)
    assert_as_exact(ours, x @ weight.T, exact(x, weight), LOST, terms=float((np.abs(x) @ np.abs(weight.T)).max()))


@pytest.mark.parametrize("cpu", [Cpu(1, 16, 2), Cpu(4, 16, 2, 4), Cpu(16, 32, 2, 4)], ids=str)
def test_registers_of_other_widths(cpu: Cpu) -> None:
    """LLVM makes of them what the machine has."""
    arithmetic = Arithmetic(cpu, FLOAT32)
    tile = tile_size(arithmetic.cpu, None, None)
    schedule = ProductSchedule(tile.rows, tile.vectors, arithmetic.cpu.unroll, 96, halvings=1)
    m, n, k = 150, 2 * tile.vectors * arithmetic.cpu.lanes, 300
    x, weight = random(0, m, k), random(1, n, k)
    ours = run(
        gemm.linear_func(m, n, k, arithmetic, (), schedule), [x, gemm.pack_weight(weight, arithmetic, schedule)], (m, n)
    )
    assert_as_exact(ours, x @ weight.T, exact(x, weight), LOST)


def test_the_epilogue_gets_finished_values() -> None:
    m, n, k = 200, 4 * columns(), 96
    x, weight, bias, before = random(0, m, k), random(1, n, k), random(2, n), random(3, m, n)
    ours = product(x, weight, halved(), ("add_vector", "add_tensor"), bias, before)
    theirs = x @ weight.T + bias + before
    assert_as_exact(ours, theirs, exact(x, weight) + bias + before, LOST, terms=float(np.abs(theirs).max()) * 4)


def test_rows_of_very_different_size_keep_their_digits() -> None:
    """Each is mixed with one half a block further on."""
    m, n, k = 864, 4 * columns(), 512
    x, weight = random(0, m, k), random(1, n, k)
    x *= (2.0 ** np.random.default_rng(2).uniform(-60, 60, (m, 1))).astype(np.float32)
    x[7], x[11] = 0, 0
    ours, right = product(x, weight, halved()), exact(x, weight)
    scale = np.abs(right).max(axis=1, keepdims=True)
    scale[scale == 0] = 1
    assert_as_exact(ours / scale, (x @ weight.T) / scale, right / scale, LOST)
    assert (ours[[7, 11]] == 0).all()


def test_the_largest_and_the_smallest_rows() -> None:
    """Nothing becomes infinite or zero on the way that is neither at the end."""
    m, n, k = 24, columns(), 64
    x, weight = np.abs(random(0, m, k)) + 1, np.abs(random(1, n, k)) / 256
    x[3] *= 2.0**126
    x[17] *= 2.0**-120
    x = np.minimum(x, np.finfo(np.float32).max).astype(np.float32)
    ours, right = product(x, weight, halved()), exact(x, weight)
    np.testing.assert_allclose(ours, right, rtol=3e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_spoils_two_rows(bad: float) -> None:
    m, n, k = 48, columns(), 64
    x, weight = random(0, m, k), random(1, n, k)
    x[5, 9] = bad
    ours = product(x, weight, halved())
    spoiled = np.flatnonzero(~np.isfinite(ours).all(axis=1))
    assert 5 in spoiled and len(spoiled) <= 2
    fine = np.setdiff1d(np.arange(m), spoiled)
    assert_as_exact(ours[fine], x[fine] @ weight.T, exact(x[fine], weight), LOST)


@pytest.mark.parametrize(
    ("m", "n", "k", "halvings"),
    [
        (5184, 3072, 1024, 1),
        (5184, 1024, 4736, 1),
        (5184, 2048, 256, 1),
        (5184, 512, 512, 1),
        (5184, 256, 2048, 0),  # nothing to gain
        (5184, 256, 256, 0),
        (201, 2048, 1024, 0),
        (5184, 3072, 1025, 0),
        (5184, 1000, 1024, 0),
    ],
)
def test_large_products_are_halved(m: int, n: int, k: int, halvings: int) -> None:
    cpu = cpu_of(Target({"kind": "llvm", "mcpu": "znver3", "num-cores": 2}))
    schedule = LinearWork(m, n, k).default(cpu)
    assert schedule.halvings == halvings
    assert schedule.problem(cpu) is None


def test_bfloat16_is_not_halved() -> None:
    arithmetic = Arithmetic(cpu_of(Target({"kind": "llvm", "mcpu": "znver3", "num-cores": 2})), WIDENED)
    assert linear_schedule(5184, 3072, 1024, arithmetic).halvings == 0


def test_an_odd_number_of_panels_is_refused() -> None:
    pair = columns(IN_FLOAT32)
    assert LinearWork(5184, pair, 1024).problem(halved(IN_FLOAT32), CPU) is None
    assert LinearWork(5184, 3 * pair // 2, 1024).problem(halved(IN_FLOAT32), CPU) == "this product cannot be halved"


def test_kernel_says_so() -> None:
    kernel = gemm.linear_func(5184, 2048, 1024, IN_FLOAT32)
    assert "seven products of eight" in str(kernel.attrs["sam3port.schedule"])
    compile_function(kernel)
