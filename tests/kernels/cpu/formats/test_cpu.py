"""What is read from targets."""

from __future__ import annotations

from typing import Any

import pytest
from tvm.target import Target

from sam3port.errors import UsageError
from sam3port.kernels.cpu.formats.bfloat16 import pairs_on
from sam3port.kernels.cpu.formats.cpu import cpu_of
from sam3port.kernels.cpu.formats.micro_kernel import AVX512_BF16, NEON_BF16
from tests.kernels.cpu.formats.test_machine_code import ARM, X86


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
    cpu = cpu_of(Target({"kind": "llvm", **target}))
    assert (cpu.lanes, cpu.registers) == (lanes, registers)


def test_not_a_cpu() -> None:
    with pytest.raises(UsageError, match="LLVM target"):
        cpu_of(Target({"kind": "cuda", "arch": "sm_80"}))


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
    cpu = cpu_of(Target({"kind": "llvm", **target}))
    found = pairs_on(cpu)
    assert (found.dot.feature if found is not None else "") == instruction
    assert pairs_on(cpu.anywhere) is None
