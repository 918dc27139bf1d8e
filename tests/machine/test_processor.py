"""Processors as they describe themselves: the running one, and recorded ones."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam3port.errors import UsageError
from sam3port.machine import processor as module
from sam3port.machine.features import known_features
from sam3port.machine.names import llvm_name
from sam3port.machine.processor import VARIABLE, assumed, described, running
from tests.machine.recorded import FOLDER, MACHINES, text


def test_every_record_is_expected_and_says_where_it_is_from() -> None:
    assert {file.stem for file in FOLDER.glob("*.txt")} == set(MACHINES)
    assert [name for name in MACHINES if not text(name).startswith("# source: ")] == []


@pytest.mark.parametrize("name", MACHINES)
def test_a_recorded_machine_is_read(name: str) -> None:
    found = described(text(name))
    assert found is not None
    assert llvm_name(found) == MACHINES[name].mcpu
    assert found.features, "it offers something"
    said = {word[1:] for word in (*found.offered, *found.lacking)}
    assert said == set(known_features(found.machine)), "each is said to be there, or not to be there"


@pytest.mark.parametrize(
    ("name", "there", "away"),
    [
        (
            "intel-emerald-rapids-vm-without-amx",
            {"avx512f", "avx512bf16", "avx512fp16", "avxvnni"},
            {"amx-tile", "amx-bf16"},
        ),
        ("intel-sapphire-rapids-bare-metal", {"amx-tile", "amx-int8", "amx-bf16", "avx512bf16"}, {"amx-fp16"}),
        ("amd-zen4-vm-without-avx512", {"avx2", "fma", "sse4a"}, {"avx512f", "avx512bf16", "gfni"}),
        ("intel-skylake-x-without-avx512", {"avx2", "fma"}, {"avx512f", "avx512vl"}),
        ("intel-pentium-without-avx", {"sse4.2", "popcnt"}, {"avx", "avx2", "bmi", "fma"}),
        ("intel-atom-without-avx", {"sse4.2", "movbe"}, {"avx", "fma"}),
        ("amd-bulldozer", {"avx", "fma4", "xop"}, {"avx2", "fma"}),
        ("qemu64", {"sse2", "sse3", "cx16"}, {"ssse3", "avx", "popcnt"}),
        ("raspberry-pi-4", {"neon", "crc"}, {"aes", "sha2", "dotprod"}),
        ("graviton3", {"bf16", "i8mm", "sve", "dotprod"}, {"sve2", "sme"}),
        ("apple-m1-macos-11", {"neon", "dotprod", "fullfp16"}, {"bf16", "i8mm"}),
        ("apple-m4", {"bf16", "i8mm", "sme", "sme2"}, {"sve"}),
        ("apple-intel-mac", {"avx2", "fma", "bmi2", "sse4.2", "lzcnt", "movbe"}, {"avx512f"}),
    ],
)
def test_what_stands_out_in_records(name: str, there: set[str], away: set[str]) -> None:
    found = described(text(name))
    assert found is not None and found.features is not None
    assert there <= found.features
    assert found.features.isdisjoint(away)


def test_the_running_processor_says_the_same_as_its_kernel() -> None:
    """The processor is asked itself; the kernel's list agrees where it is the kernel of this machine."""
    file = Path("/proc/cpuinfo")
    if not file.exists():
        pytest.skip("this system has no /proc/cpuinfo")
    listed, found = described(file.read_text(encoding="utf-8", errors="replace")), running()
    assert listed is not None and listed.features is not None and found.features is not None
    assert found.machine == platform.machine()
    assert listed.features <= found.features, "the kernel lists what the processor denies"
    if listed.maker:
        assert (found.maker, found.model) == (listed.maker, listed.model)


def test_without_cpuid_the_kernel_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.cpuid, "identify", lambda: None)
    module.running.cache_clear()
    try:
        assert running().features
    finally:
        monkeypatch.undo()
        module.running.cache_clear()


def test_under_an_emulator_the_processor_is_believed_and_not_the_kernel_below(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There /proc/cpuinfo is about another machine, with all of its instructions."""
    if platform.machine() != "x86_64":
        pytest.skip("only x86 has CPUID")
    below = tmp_path / "cpuinfo"
    below.write_text(text("intel-sapphire-rapids-bare-metal"))
    honest = running()
    monkeypatch.setattr(module, "_CPUINFO", below)
    module.running.cache_clear()
    try:
        assert running() == honest
    finally:
        monkeypatch.undo()
        module.running.cache_clear()


def test_the_auxiliary_vector_is_believed_on_arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = tmp_path / "cpuinfo"
    below.write_text(text("nvidia-grace"))
    monkeypatch.setattr(module, "_CPUINFO", below)
    monkeypatch.setattr(module.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(module.platform, "system", lambda: "Linux")
    floating_point_and_neon = 0b11
    monkeypatch.setattr(module, "_auxiliary_vector", lambda: (floating_point_and_neon, 0))
    module.running.cache_clear()
    try:
        assert running().features == {"fp-armv8", "neon"}
    finally:
        monkeypatch.undo()
        module.running.cache_clear()


def test_a_file_can_stand_for_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(FOLDER / "graviton3.txt"))
    assert (assumed().system, assumed().machine) == ("Linux", "aarch64")
    assert running().machine == platform.machine(), "this machine stays what it is"
    monkeypatch.setenv(VARIABLE, str(tmp_path / "absent"))
    with pytest.raises(UsageError, match="cannot be read"):
        assumed()
    other = tmp_path / "shopping.txt"
    other.write_text("milk: 2\neggs\n")
    monkeypatch.setenv(VARIABLE, str(other))
    with pytest.raises(UsageError, match="describes no processor"):
        assumed()


@given(st.text(alphabet=st.sampled_from("flags:\t \nFeaturhwopticpux86av512.0-#"), max_size=300))
def test_no_text_is_taken_for_more_than_it_says(content: str) -> None:
    found = described(content)
    assert found is None or found.features is None or found.features <= set(known_features(found.machine))
