"""Tiles for the vector units there are, and the machine code they become."""

from __future__ import annotations

import re
from typing import Any

import pytest
import tvm
from hypothesis import given
from hypothesis import strategies as st
from tvm.target import Target

from sam3port.errors import UsageError
from sam3port.kernels.cpu.attention.attention import AttentionSpec, attention_func
from sam3port.kernels.cpu.convolutions.convolution import ConvolutionSpec, convolution_func
from sam3port.kernels.cpu.formats import dot
from sam3port.kernels.cpu.formats.dot import AVX512_BF16, NEON_BF16
from sam3port.kernels.cpu.formats.vector_unit import VectorUnit, vector_unit
from sam3port.kernels.cpu.products import gemm
from sam3port.kernels.cpu.scheduling.schedules import own_linear_schedule
from tests.kernels.running import HOST, assert_as_exact, random, run

X86 = "x86_64-unknown-linux-gnu"
ARM = "aarch64-unknown-linux-gnu"


@pytest.mark.parametrize(("rows", "columns", "tile"), [(32, 4096, (8, 3)), (6, 1024, (6, 4)), (2, 64, (2, 4))])
def test_few_rows_are_divided_evenly(rows: int, columns: int, tile: tuple[int, int]) -> None:
    """32 rows are six strips of 6, with four rows for nothing, or four of 8."""
    found = VectorUnit(lanes=16, registers=32, cores=2).tile_of_few_rows(rows, columns)
    assert (found.rows, found.vectors) == tile


@given(rows=st.integers(1, 64), columns=st.integers(1, 300), registers=st.sampled_from([16, 32]))
def test_tiles_of_few_rows_fit_into_registers(rows: int, columns: int, registers: int) -> None:
    unit = VectorUnit(lanes=8, registers=registers, cores=2)
    assert own_linear_schedule(rows, columns, 64, unit).problem(unit) is None


@pytest.mark.parametrize(
    ("target", "lanes", "registers"),
    [
        ({"mtriple": X86, "mcpu": "x86-64-v4", "mattr": ["-prefer-256-bit"]}, 16, 32),
        ({"mtriple": X86, "mcpu": "x86-64-v4"}, 8, 32),  # LLVM would split 512-bit values there
        ({"mtriple": X86, "mcpu": "znver4"}, 16, 32),
        ({"mtriple": X86, "mcpu": "x86-64-v3"}, 8, 16),
        ({"mtriple": X86, "mcpu": "x86-64"}, 4, 16),
        ({"mtriple": ARM, "mattr": ["+neon"]}, 4, 32),
        ({"mtriple": "riscv64-unknown-linux-gnu"}, 1, 16),
    ],
)
def test_registers_of_a_target(target: dict[str, Any], lanes: int, registers: int) -> None:
    unit = vector_unit(Target({"kind": "llvm", **target}))
    assert (unit.lanes, unit.registers) == (lanes, registers)


def test_not_a_cpu() -> None:
    with pytest.raises(UsageError, match="LLVM target"):
        vector_unit(Target({"kind": "cuda", "arch": "sm_80"}))


@pytest.mark.parametrize("mcpu", ["x86-64-v4", "x86-64-v3", "x86-64"])
@pytest.mark.parametrize("rows", [1, 5, 6, 7, 200, None])
@pytest.mark.parametrize("columns", [1, 4, 16, 80, 1024, None])
def test_a_tile_fits_into_the_registers(mcpu: str, rows: int | None, columns: int | None) -> None:
    unit = vector_unit(Target({"kind": "llvm", "mtriple": X86, "mcpu": mcpu}))
    tile = unit.tile(rows, columns)
    assert tile.rows * tile.vectors + tile.vectors + 1 <= unit.registers
    assert rows is None or tile.rows <= rows
    assert tile.vectors == unit.tile(None, columns).vectors, "the columns may not depend on the rows"


def assembly(function: Any, target: Target) -> str:
    module = tvm.IRModule({"kernel": function.with_attr("global_symbol", "kernel")})
    executable = tvm.compile(module, target=target)
    return str(executable.mod.inspect_source("asm"))


def inner_loop(code: str, instruction: str) -> list[str]:
    """The loop without loops inside that has most of the given instruction."""
    loops = [
        match.group(2)
        for match in re.finditer(
            r"^(\.?\w+):[^\n]*\n((?:[^\n:]*\n)*?[^\n:]*\b(?:j\w+|b\.\w+)\s+\1)$", code, re.MULTILINE
        )
    ]
    assert loops, "no loop found"
    return max(loops, key=lambda loop: len(re.findall(instruction, loop))).strip().splitlines()


@pytest.mark.parametrize(
    ("target", "instruction", "stack"),
    [
        ({"mtriple": X86, "mcpu": "znver4"}, r"vfmadd\d+ps.*%zmm", r"\(%rsp|\(%rbp"),
        ({"mtriple": X86, "mcpu": "x86-64-v4"}, r"vfmadd\d+ps.*%ymm", r"\(%rsp|\(%rbp"),
        ({"mtriple": X86, "mcpu": "x86-64-v3"}, r"vfmadd\d+ps.*%ymm", r"\(%rsp|\(%rbp"),
        ({"mtriple": ARM, "mattr": ["+neon"]}, r"fmla\s+v\d+\.4s", r"\[sp"),
    ],
)
def test_sums_stay_in_registers(target: dict[str, Any], instruction: str, stack: str) -> None:
    """The inner loop of a product is multiply-adds and loads; nothing is kept on the stack."""
    llvm = Target({"kind": "llvm", **target})
    unit = vector_unit(llvm)
    tile = unit.tile(96, 256)
    loop = inner_loop(assembly(gemm.linear_func(96, 256, 256, unit), llvm), instruction)
    products = [line for line in loop if re.search(instruction, line)]
    assert len(products) % (tile.rows * tile.vectors) == 0 and products, "not a whole step of the tile"
    assert not [line for line in loop if re.search(stack, line)]


@pytest.mark.parametrize(
    ("target", "instruction"),
    [
        ({"mtriple": X86, "mcpu": "znver4"}, AVX512_BF16),
        ({"mtriple": X86, "mcpu": "x86-64-v4"}, ""),
        ({"mtriple": X86, "mcpu": "x86-64-v3"}, ""),
        ({"mtriple": ARM, "mcpu": "neoverse-v1"}, NEON_BF16),
        ({"mtriple": "arm64-apple-macos", "mcpu": "apple-m1"}, ""),
        ({"mtriple": "arm64-apple-macos", "mcpu": "apple-m2"}, NEON_BF16),
    ],
)
def test_instruction_for_bfloat16_of_a_target(target: dict[str, Any], instruction: str) -> None:
    llvm = Target({"kind": "llvm", **target})
    unit = vector_unit(llvm, "bfloat16")
    assert unit.dot == instruction
    assert (unit.pairs, unit.widens) == (bool(instruction), not instruction)
    usual = vector_unit(llvm)
    assert not usual.pairs and not usual.widens, "float32 is float32 on every CPU"


@pytest.mark.parametrize(
    ("target", "instruction", "stack"),
    [
        ({"mtriple": X86, "mcpu": "znver5"}, r"vdpbf16ps.*%zmm", r"\(%rsp|\(%rbp"),
        ({"mtriple": X86, "mcpu": "sapphirerapids"}, r"vdpbf16ps.*%ymm", r"\(%rsp|\(%rbp"),
        ({"mtriple": X86, "mcpu": "cooperlake"}, r"vdpbf16ps.*%ymm", r"\(%rsp|\(%rbp"),
        (
            {"mtriple": X86, "mcpu": "x86-64-v4", "mattr": ["+avx512bf16", "-prefer-256-bit"]},
            r"vdpbf16ps.*%zmm",
            r"\(%rsp|\(%rbp",
        ),
        ({"mtriple": ARM, "mattr": ["+neon", "+bf16"]}, r"bfdot\s+v\d+\.4s", r"\[sp"),
        ({"mtriple": X86, "mcpu": "x86-64-v3"}, r"vfmadd\d+ps.*%ymm", r"\(%rsp|\(%rbp"),
    ],
)
def test_sums_of_bfloat16_stay_in_registers(target: dict[str, Any], instruction: str, stack: str) -> None:
    """The same of the instructions for pairs, in linear layers and convolutions; without one it is float32's loop."""
    llvm = Target({"kind": "llvm", **target})
    unit = vector_unit(llvm, "bfloat16")
    spec = ConvolutionSpec(1, 64, 40, 40, 64, (3, 3), padding=(1, 1, 1, 1))
    rows, pixels = unit.tile(64, None).rows, unit.tile(64, spec.pixels).vectors
    for kernel, sums in (
        (gemm.linear_func(96, 256, 256, unit), unit.tile(96, 256).rows * unit.tile(96, 256).vectors),
        (convolution_func(spec, unit), rows * pixels),
    ):
        code = assembly(kernel, llvm)
        assert dot.name(unit.lanes) not in code, "the instruction is behind a call"
        loop = inner_loop(code, instruction)
        products = [line for line in loop if re.search(instruction, line)]
        assert len(products) % sums == 0 and products, "not a whole step of the tile"
        assert not [line for line in loop if re.search(stack, line)]


@pytest.mark.parametrize(
    ("target", "instructions"),
    [
        ({"mtriple": X86, "mcpu": "znver4"}, ["vdpbf16ps.*%zmm", "vcvtne2?ps2bf16", "vreduceps", "vscalefps"]),
        ({"mtriple": X86, "mcpu": "sapphirerapids"}, ["vdpbf16ps.*%ymm", "vcvtne2?ps2bf16"]),
        ({"mtriple": ARM, "mattr": ["+neon", "+bf16"]}, [r"bfdot\s+v\d+\.4s", "bfcvtn"]),
    ],
)
def test_attention_in_bfloat16_uses_what_the_cpu_has(target: dict[str, Any], instructions: list[str]) -> None:
    llvm = Target({"kind": "llvm", **target})
    spec = AttentionSpec(1, 2, 200, 300, 64, 64, scale=0.125)
    code = assembly(attention_func(spec, vector_unit(llvm, "bfloat16")), llvm)
    assert [each for each in instructions if not re.search(each, code)] == []
    assert "sam3port_" not in code, "an instruction is behind a call"


@pytest.mark.parametrize("mcpu", ["x86-64-v3", "x86-64"])
def test_smaller_vector_units_compute_the_same(mcpu: str) -> None:
    if not str(HOST.attrs["mcpu"]).startswith(("znver", "x86", "skylake", "icelake", "sapphire", "haswell", "broad")):
        pytest.skip("cannot run x86-64 code here")
    target = Target({"kind": "llvm", "mcpu": mcpu, "num-cores": 2})
    unit = vector_unit(target)
    x, weight = random(0, 37, 129), random(1, 45, 129)
    exact = x.astype("float64") @ weight.astype("float64").T
    ours = run(gemm.linear_func(37, 45, 129, unit), [x, gemm.pack_weight(weight, unit)], (37, 45), target)
    assert_as_exact(ours, x @ weight.T, exact)
    q, k, v = (random(seed, 1, 2, 21, 24) for seed in range(3))
    spec = AttentionSpec(1, 2, 21, 21, 24, 24, scale=0.2)
    out = run(attention_func(spec, unit), [q, k, v], q.shape, target)
    reference = run(attention_func(spec, vector_unit(HOST)), [q, k, v], q.shape)
    assert abs(out - reference).max() < 1e-6
