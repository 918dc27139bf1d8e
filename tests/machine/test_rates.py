"""What is fast is measured, kept, and becomes what LLVM is told."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm.target import Target, codegen

from sam3port import children
from sam3port.kernels.cpu.formats.register_loops import SUMS, multiply_add, multiply_add_bytes, multiply_add_pairs
from sam3port.machine import rates
from sam3port.machine.features import known_features
from sam3port.machine.processor import Processor, described, running
from sam3port.machine.rates import KNOWN, MEASURED, Rates, kept_file, rates_of
from sam3port.targets import measure_rates
from sam3port.targets.cpu import CpuTarget
from sam3port.targets.host import plain_host_target
from tests.kernels.cpu.formats.test_machine_code import assembly
from tests.machine.recorded import MACHINES, text

EMERALD = Rates({256: 100, 512: 209}, {512: 93}, {512: 630}, MEASURED)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (EMERALD, ["-prefer-256-bit", "-avx512bf16"]),
        (Rates({256: 100, 512: 209}, {512: 400}), ["-prefer-256-bit"]),
        (Rates({256: 116, 512: 116}, {512: 232}), []),
        (Rates({256: 116, 512: 80}, {512: 232}), ["+prefer-256-bit"]),
        (Rates({256: 100, 512: 119}), []),
        (Rates({128: 106}, {128: 53}), ["-bf16"]),
        (Rates({128: 41}, {128: 83}), []),
        (Rates({256: 92}), []),
        (Rates(), []),
    ],
)
def test_what_llvm_is_told(found: Rates, told: list[str]) -> None:
    assert found.attributes() == told


def test_they_are_measured_here() -> None:
    """Every loop that this processor has the instructions for; no machine does more than 10^12 a second on one core."""
    found = measure_rates.measure()
    assert found.source == MEASURED
    assert found.float32
    for figures in (found.float32, found.bfloat16):
        assert all(1 < rate < 1000 for rate in figures.values())
    has = running().features or frozenset()
    assert (512 in found.float32) == ("avx512f" in has)
    assert bool(found.bfloat16) == bool({"avx512bf16", "bf16"} & has)


@pytest.mark.parametrize(
    ("mcpu", "loops"),
    [
        ("emeraldrapids", {("float32", 256), ("float32", 512), ("bfloat16", 512), ("int8", 512), ("int8", 256)}),
        ("znver4", {("float32", 256), ("float32", 512), ("bfloat16", 512), ("int8", 512), ("int8", 256)}),
        ("skylake-avx512", {("float32", 256), ("float32", 512)}),
        ("alderlake", {("float32", 256), ("int8", 256)}),
        ("x86-64-v3", {("float32", 256)}),
    ],
)
def test_what_a_processor_has_is_measured(mcpu: str, loops: set[tuple[str, int]]) -> None:
    target = Target({"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": mcpu})
    found = {(kind, bits) for kind, bits, _ in measure_rates._loops(target)}
    assert found - {("bfloat16", 256)} == loops


X86 = {"kind": "llvm", "mtriple": "x86_64-linux-gnu"}
ARM = {"kind": "llvm", "mtriple": "aarch64-linux-gnu"}


@pytest.mark.parametrize(
    ("function", "target", "instruction"),
    [
        (
            multiply_add(1, 16, 100),
            {**X86, "mcpu": "emeraldrapids", "mattr": ["-prefer-256-bit"]},
            r"vfmadd\d+ps.*%zmm",
        ),
        (multiply_add(1, 8, 100), {**X86, "mcpu": "emeraldrapids"}, r"vfmadd\d+ps.*%ymm"),
        (multiply_add_pairs(1, 16, 100, "avx512bf16"), {**X86, "mcpu": "emeraldrapids"}, r"vdpbf16ps.*%zmm"),
        (multiply_add_bytes(1, 16, 100, "avx512vnni"), {**X86, "mcpu": "emeraldrapids"}, r"vpdpbusd.*%zmm"),
        (multiply_add_bytes(1, 8, 100, "avxvnni"), {**X86, "mcpu": "alderlake"}, r"vpdpbusd.*%ymm"),
        (multiply_add_pairs(1, 4, 100, "bf16"), {**ARM, "mcpu": "neoverse-v1"}, r"bfdot\s+v\d+\.4s"),
        (multiply_add_bytes(1, 4, 100, "dotprod"), {**ARM, "mcpu": "neoverse-n1"}, r"sdot\s+v\d+\.4s"),
    ],
    ids=["fma 512", "fma 256", "vdpbf16ps", "vpdpbusd", "AVX-VNNI", "bfdot", "sdot"],
)
def test_a_loop_is_that_instruction_and_nothing_else(function: Any, target: dict[str, Any], instruction: str) -> None:
    code = assembly(function, Target(target))
    assert len(re.findall(instruction, code)) >= SUMS
    assert "sam3port_dot" not in code, "the instruction is behind a call"


def test_sums_of_bytes_are_right() -> None:
    """Where the CPU has it: what is measured really multiplies."""
    feature = next((f for f in ("avx512vnni", "avxvnni", "dotprod") if f in (running().features or ())), None)
    if feature is None:
        pytest.skip("this CPU has no instruction for products of bytes")
    lanes = 4 if feature == "dotprod" else 8
    function = multiply_add_bytes(1, lanes, 10, feature).with_attr("global_symbol", "kernel")
    kernel = tvm.compile(tvm.IRModule({"kernel": function}), target=plain_host_target(1))["kernel"]
    out = tvm.runtime.empty((1, SUMS * lanes), "int32")
    kernel(tvm.runtime.tensor(np.full((2, lanes), 0x01020304, np.uint32)), out)
    assert (out.numpy() == 1 + 10 * (1 + 4 + 9 + 16)).all()


@pytest.fixture
def processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Processor:
    """A running processor with a choice, and an empty cache."""
    found = described(text("intel-emerald-rapids-vm-without-amx"))
    assert found is not None
    monkeypatch.setenv("SAM3PORT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(rates, "running", lambda: found)
    return found


def _child(monkeypatch: pytest.MonkeyPatch, stdout: str, status: int = 0, stderr: str = "") -> list[str]:
    asked: list[str] = []

    def run(module: str, *_: str, **__: Any) -> subprocess.CompletedProcess[str]:
        asked.append(module)
        return subprocess.CompletedProcess([module], status, stdout, stderr)

    monkeypatch.setattr(children, "run", run)
    return asked


def test_it_is_measured_once_and_kept(processor: Processor, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _child(monkeypatch, json.dumps(EMERALD.as_json()) + "\n")
    assert rates_of(processor) == rates_of(processor) == EMERALD
    assert asked == ["sam3port.targets.measure_rates"]
    assert [file.suffix for file in kept_file(processor).parent.iterdir() if file.suffix != ".lock"] == [".json"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"float32": {"wide": 1}}', '{"float32": 3, "source": ""}', "null"])
def test_what_is_damaged_is_measured_again(content: str, processor: Processor, monkeypatch: pytest.MonkeyPatch) -> None:
    file = kept_file(processor)
    file.parent.mkdir(parents=True)
    file.write_text(content)
    asked = _child(monkeypatch, json.dumps(EMERALD.as_json()))
    assert rates_of(processor) == EMERALD and len(asked) == 1
    assert Rates.from_json(json.loads(file.read_text())) == EMERALD


def test_a_measurement_that_dies_is_said_and_the_table_holds(
    processor: Processor, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _child(monkeypatch, "", -4, "Illegal instruction\n")
    found = rates_of(processor)
    assert found.attributes() == KNOWN["emeraldrapids"].attributes()
    assert "Illegal instruction" in found.problem
    assert not kept_file(processor).exists(), "the next build tries again"
    rates_of(processor)
    assert len(asked) == 2


def test_without_a_cache_the_table_holds_for_every_process(
    processor: Processor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SAM3PORT_CACHE", str(tmp_path / "file" / "cache"))
    asked = _child(monkeypatch, json.dumps(EMERALD.as_json()))
    found = rates_of(processor)
    assert found.attributes() == KNOWN["emeraldrapids"].attributes() and "cannot be written" in found.problem
    assert not asked, "each process would measure for itself, and two may differ"
    monkeypatch.setattr("sam3port.machine.processor.running", lambda: processor)
    said = CpuTarget().announcements()
    assert said and "cannot be measured" in said[0] and "measured on a virtual machine" in said[0]


def test_without_a_choice_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    found = described(text("intel-haswell"))
    assert found is not None
    monkeypatch.setattr(rates, "running", lambda: found)
    asked = _child(monkeypatch, "")
    assert rates_of(found) == Rates() and not asked


def test_the_table_is_about_processors_that_llvm_knows() -> None:
    for name, known in KNOWN.items():
        triple = "aarch64-linux-gnu" if 128 in known.float32 else "x86_64-linux-gnu"
        assert codegen.llvm_is_valid_cpu(name, triple), name
        assert known.source
        for told in known.attributes():
            machine = triple.partition("-")[0]
            assert told[1:] in known_features(machine) or told[1:] == "prefer-256-bit"


def test_json_keeps_everything() -> None:
    for known in KNOWN.values():
        assert Rates.from_json(json.loads(json.dumps(known.as_json()))) == known


def test_recorded_machines_take_the_table() -> None:
    """What a file describes cannot be measured here."""
    for name in MACHINES:
        found = described(text(name))
        assert found is not None
        assert rates_of(found).source != MEASURED or found == running()
