"""CPUs by name: kernels as wide as theirs, object code for their linkers; no other CPU in place of a misspelt one."""

from __future__ import annotations

import json
import struct
import tarfile
from pathlib import Path
from typing import Final

import pytest

from sam3port.compiler.stage import OBJECTS, RECORD
from sam3port.errors import UsageError
from sam3port.kernels.cpu.formats.cpu import cpu_of
from sam3port.targets.cpu import CpuTarget
from sam3port.upstream.source import Upstream
from tests.cli.conftest import call

ARM: Final = {"triple": "aarch64-linux-gnu", "mcpu": "neoverse-n1"}
MAC: Final = {"triple": "arm64-apple-macos", "mcpu": "apple-m1"}


@pytest.mark.parametrize(
    ("options", "lanes", "registers"),
    [
        ({"mcpu": "x86-64"}, 4, 16),
        ({"mcpu": "x86-64-v3"}, 8, 16),
        ({"mcpu": "znver5"}, 16, 32),
        ({"triple": "x86_64-linux-gnu"}, 4, 16),
        (ARM, 4, 32),
        (MAC, 4, 32),
    ],
)
def test_the_kernels_are_as_wide_as_the_cpu_named(options: dict[str, str], lanes: int, registers: int) -> None:
    chosen = CpuTarget(options=options)
    chosen.check()
    cpu = cpu_of(chosen.target())
    assert (cpu.lanes, cpu.registers) == (lanes, registers)


@pytest.mark.parametrize(
    ("options", "problem", "remedy"),
    [
        ({"mcpu": "x86-64-v33"}, "no CPU named x86-64-v33", "did you mean x86-64-v3"),
        ({**ARM, "mcpu": "x86-64-v3"}, "aarch64-linux-gnu has no CPU named x86-64-v3", "neoverse-n1"),
        ({"triple": "abacus-linux-gnu"}, "no code for the machine abacus-linux-gnu", "aarch64-linux-gnu"),
        ({"triple": "aarch64-none-elf"}, "no code for the machine aarch64-none-elf", "arm64-apple-macos"),
    ],
)
def test_what_there_is_not_is_refused(options: dict[str, str], problem: str, remedy: str) -> None:
    """LLVM itself takes a plain CPU in place of an unknown one, and an unknown architecture ends the process."""
    with pytest.raises(UsageError, match=problem) as caught:
        CpuTarget(options=options).check()
    assert remedy in caught.value.remedy


def test_each_choice_has_code_of_its_own() -> None:
    choices = [{}, {"mcpu": "x86-64-v3"}, {"mcpu": "x86-64-v4"}, ARM, MAC]
    assert len({CpuTarget(options=options).identity() for options in choices}) == len(choices)


@pytest.mark.parametrize(
    ("options", "machine"),
    [
        (ARM, b"\x7fELF\x02\x01\x01"),
        (MAC, bytes.fromhex("cffaedfe0c000001")),
    ],
    ids=["linux", "macos"],
)
def test_a_cross_build_leaves_object_code(
    options: dict[str, str], machine: bytes, upstream_source: Upstream, tmp_path: Path
) -> None:
    assert upstream_source.pinned
    given = [word for name, value in options.items() for word in (f"--{name}", value)]
    done = call("build", "scoring_head", *given, "--out", "built", cwd=tmp_path, timeout=600)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "built" / "scoring_head"
    assert json.loads((folder / RECORD).read_text())["target_options"] == options
    with tarfile.open(folder / OBJECTS) as archive:
        objects = [archive.extractfile(member).read() for member in archive if member.isfile()]  # type: ignore[union-attr]
    assert objects
    for content in objects:
        assert content.startswith(machine)
        if machine.startswith(b"\x7fELF"):
            aarch64 = 183  # EM_AARCH64, elf.h
            assert struct.unpack_from("<H", content, 18)[0] == aarch64
    names = b"".join(objects)
    prefix = b"_" if machine[:1] != b"\x7f" else b""
    assert b"\0" + prefix + b"__tvm_ffi__library_bin\0" in names, "the modules that are no host code are missing"
    assert prefix + b"__tvm_ffi_fused_" in names, "no kernel"
    run = call("verify", "--built", "built", *given, cwd=tmp_path)
    assert run.returncode == 2
    assert "cannot run here" in run.stderr
