"""The machine code that kernels become on CPUs of every kind."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import tvm
from tvm.target import Target

from sam3port.kernels.cpu.attention.attention import attention_func
from sam3port.kernels.cpu.attention.spec import AttentionSpec
from sam3port.kernels.cpu.convolutions.convolution import ConvolutionSpec, convolution_func
from sam3port.kernels.cpu.formats.bfloat16 import PRECISION
from sam3port.kernels.cpu.formats.cpu import cpu_of
from sam3port.kernels.cpu.formats.float32 import FLOAT32
from sam3port.kernels.cpu.formats.format import Arithmetic
from sam3port.kernels.cpu.formats.policy import Kind, Site, arithmetic_for
from sam3port.kernels.cpu.products import gemm
from sam3port.kernels.cpu.scheduling.tiles import tile_size
from tests.kernels.running import HOST, IN_FLOAT32, assert_as_exact, random, run

X86 = "x86_64-unknown-linux-gnu"
ARM = "aarch64-unknown-linux-gnu"


def in_bfloat16(target: Target, kind: Kind) -> Arithmetic:
    """What many rows are computed with in such a build."""
    return arithmetic_for(Site(kind, 100), cpu_of(target), PRECISION)


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
    arithmetic = Arithmetic(cpu_of(llvm), FLOAT32)
    tile = tile_size(arithmetic.cpu, 96, 256)
    loop = inner_loop(assembly(gemm.linear_func(96, 256, 256, arithmetic), llvm), instruction)
    products = [line for line in loop if re.search(instruction, line)]
    assert len(products) % (tile.rows * tile.vectors) == 0 and products, "not a whole step of the tile"
    assert not [line for line in loop if re.search(stack, line)]


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
    arithmetic = in_bfloat16(llvm, Kind.LINEAR)
    cpu = arithmetic.cpu
    spec = ConvolutionSpec(1, 64, 40, 40, 64, (3, 3), padding=(1, 1, 1, 1))
    rows, pixels = tile_size(cpu, 64, None).rows, tile_size(cpu, 64, spec.pixels).vectors
    for kernel, sums in (
        (gemm.linear_func(96, 256, 256, arithmetic), math.prod(tile_size(cpu, 96, 256))),
        (convolution_func(spec, arithmetic), rows * pixels),
    ):
        code = assembly(kernel, llvm)
        assert "sam3port_dot" not in code, "the instruction is behind a call"
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
    code = assembly(attention_func(spec, in_bfloat16(llvm, Kind.ATTENTION)), llvm)
    assert [each for each in instructions if not re.search(each, code)] == []
    assert "sam3port_" not in code, "an instruction is behind a call"


@pytest.mark.parametrize("mcpu", ["x86-64-v3", "x86-64"])
def test_smaller_registers_compute_the_same(mcpu: str) -> None:
    if not str(HOST.attrs["mcpu"]).startswith(("znver", "x86", "skylake", "icelake", "sapphire", "haswell", "broad")):
        pytest.skip("cannot run x86-64 code here")
    target = Target({"kind": "llvm", "mcpu": mcpu, "num-cores": 2})
    arithmetic = Arithmetic(cpu_of(target), FLOAT32)
    x, weight = random(0, 37, 129), random(1, 45, 129)
    exact = x.astype("float64") @ weight.astype("float64").T
    ours = run(gemm.linear_func(37, 45, 129, arithmetic), [x, gemm.pack_weight(weight, arithmetic)], (37, 45), target)
    assert_as_exact(ours, x @ weight.T, exact)
    q, k, v = (random(seed, 1, 2, 21, 24) for seed in range(3))
    spec = AttentionSpec(1, 2, 21, 21, 24, 24, scale=0.2)
    out = run(attention_func(spec, arithmetic), [q, k, v], q.shape, target)
    reference = run(attention_func(spec, IN_FLOAT32), [q, k, v], q.shape)
    assert abs(out - reference).max() < 1e-6
