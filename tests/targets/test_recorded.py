"""What would be built on recorded machines: nothing that they do not have, as wide and in the types that are fast."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tvm.target import codegen

from sam3port.build.runner import Compiled
from sam3port.compiler.errors import InputError
from sam3port.errors import UsageError
from sam3port.kernels.cpu.formats.bfloat16 import pairs_on
from sam3port.kernels.cpu.formats.cpu import Cpu, cpu_of
from sam3port.kernels.cpu.formats.policy import Kind
from sam3port.kernels.cpu.products import gemm
from sam3port.machine.features import known_features, relevant
from sam3port.machine.processor import VARIABLE, described, running
from sam3port.targets.cpu import CpuTarget
from sam3port.upstream.source import Upstream
from tests.cli.conftest import call
from tests.kernels.cpu.formats.test_machine_code import assembly, in_bfloat16
from tests.machine.recorded import FOLDER, MACHINES, text


def pairs_by(cpu: Cpu) -> str:
    """LLVM's name of the feature that has an instruction for pairs of bfloat16; empty: there is none."""
    found = pairs_on(cpu)
    return "" if found is None else found.dot.feature


@pytest.fixture(params=MACHINES)
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(VARIABLE, str(FOLDER / f"{request.param}.txt"))
    return str(request.param)


def test_target_width_and_types(name: str) -> None:
    expected, made = MACHINES[name], CpuTarget("bfloat16")
    target, cpu = made.target(), cpu_of(made.target())
    assert (str(target.attrs["mcpu"]), cpu.lanes, cpu.registers, pairs_by(cpu)) == (
        expected.mcpu,
        expected.lanes,
        expected.registers,
        expected.dot,
    )
    slower = [said for said in made.announcements() if said.startswith("bfloat16: ")]
    assert bool(slower) == (not expected.dot), "computing in float32 is said"


def test_nothing_is_asked_for_that_is_not_there(name: str) -> None:
    found, made = described(text(name)), CpuTarget()
    made.check()
    assert found is not None and found.features is not None
    used = set(map(str, codegen.llvm_get_cpu_features(made.target()))) & set(known_features(found.machine))
    assert used <= found.features


def test_each_machine_has_keys_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two machines may share a folder of results, as over NFS. Two that offer the same may share the results."""
    identities = set()
    for name in MACHINES:
        monkeypatch.setenv(VARIABLE, str(FOLDER / f"{name}.txt"))
        identities.add(CpuTarget().identity())
    assert len(identities) == len({described(text(name)) for name in MACHINES}) > 40


@pytest.mark.parametrize(
    ("name", "there", "away"),
    [
        ("intel-emerald-rapids-vm-without-amx", r"vfmadd\d+ps.*%zmm", r"tileload|vdpbf16ps"),
        ("amd-zen4-vm-without-avx512", r"vfmadd\d+ps.*%ymm", r"%zmm|%ymm(1[6-9]|2\d|3[01])|%k[1-7]"),
        ("intel-skylake-x-without-avx512", r"vfmadd\d+ps.*%ymm", r"%zmm|%ymm(1[6-9]|2\d|3[01])|%k[1-7]"),
        ("intel-sandy-bridge", r"vmulps.*%ymm", r"vfmadd|vpbroadcast|%zmm"),
        ("intel-atom-without-avx", r"\bmulps", r"%ymm|\bv(add|mul|mov|broadcast)[a-z]*ps"),
        ("qemu64", r"\bmulps", r"%ymm|\bv(add|mul|mov)[a-z]*ps|pshufb|roundps|blendvps|insertps"),
        ("raspberry-pi-4", r"fmla\s+v\d+\.4s", r"bfdot|[su]dot|\bz\d+\."),
        ("apple-m2", r"fmla\.4s", r"bfdot"),
    ],
)
def test_the_machine_code_has_only_what_is_there(
    name: str, there: str, away: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(FOLDER / f"{name}.txt"))
    target = CpuTarget("bfloat16").target()
    code = assembly(gemm.linear_func(96, 64, 64, in_bfloat16(target, Kind.LINEAR)), target)
    assert re.search(there, code)
    assert not re.findall(away, code)


def test_what_this_machine_lacks_is_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(FOLDER / "amd-zen5.txt"))
    missing = CpuTarget().missing_to_run()
    if running().machine != "x86_64":
        assert missing and "another machine" in missing[0]
    elif {"avx512f", "avx512bf16", "avxvnni", "avx512vp2intersect"} <= (running().features or set()):
        assert not missing
    else:
        assert missing and missing[0].startswith("the instructions ")
    host = CpuTarget().host()
    has = relevant(map(str, codegen.llvm_get_cpu_features(host)), running().machine)
    assert set(has) <= (running().features or set(has)), "weights are packed by this machine, whatever is built for"


@pytest.mark.parametrize(
    ("options", "lanes", "dot"),
    [
        ({"triple": "x86_64-linux-gnu", "mcpu": "sapphirerapids"}, 16, ""),
        ({"triple": "x86_64-linux-gnu", "mcpu": "sapphirerapids,+prefer-256-bit"}, 8, ""),
        ({"triple": "x86_64-linux-gnu", "mcpu": "sapphirerapids,+avx512bf16"}, 16, "avx512bf16"),
        ({"triple": "x86_64-linux-gnu", "mcpu": "znver4,-avx512f"}, 8, ""),
        ({"triple": "x86_64-linux-gnu", "mcpu": "znver4,-avx512bf16,-avx512vnni"}, 16, ""),
        ({"triple": "aarch64-linux-gnu", "mcpu": "neoverse-n1,+bf16"}, 4, "bf16"),
        ({"triple": "aarch64-linux-gnu", "mcpu": "neoverse-v1,-bf16"}, 4, ""),
        ({"triple": "arm64-apple-macos", "mcpu": "apple-m3"}, 4, ""),
    ],
)
def test_a_name_may_carry_features(options: dict[str, str], lanes: int, dot: str) -> None:
    made = CpuTarget("bfloat16", options)
    made.check()
    cpu = cpu_of(made.target())
    assert (cpu.lanes, pairs_by(cpu)) == (lanes, dot)
    name, _, features = options["mcpu"].partition(",")
    if features:
        assert made.identity() != CpuTarget("bfloat16", {**options, "mcpu": name}).identity()


@pytest.mark.parametrize(
    ("mcpu", "problem", "remedy"),
    [
        ("znver4,avx512f", "avx512f is no feature to be added or taken away", "sapphirerapids,-amx-tile"),
        ("znver4,", "an empty word", "write a CPU"),
        ("znver4,-amx-tiel", "no feature named amx-tiel", "did you mean amx-tile"),
        ("native,+avx3", "no feature named avx3", "did you mean avx"),
        ("znver44,-avx2", "no CPU named znver44", "znver4"),
    ],
)
def test_features_that_there_are_not_are_refused(mcpu: str, problem: str, remedy: str) -> None:
    triple = {} if mcpu.startswith("native") else {"triple": "x86_64-linux-gnu"}
    with pytest.raises(UsageError) as caught:
        CpuTarget(options={**triple, "mcpu": mcpu}).check()
    assert problem in caught.value.problem and remedy in caught.value.remedy


def test_native_is_this_machine_with_features_taken_away() -> None:
    plain, less = CpuTarget(), CpuTarget(options={"mcpu": "native,-fma"})
    assert CpuTarget(options={"mcpu": "native"}).identity() == plain.identity() != less.identity()
    if running().machine == "x86_64":
        assert not codegen.llvm_cpu_has_features("fma", less.target())
    with pytest.raises(UsageError, match="another machine"):
        CpuTarget(options={"mcpu": "native", "triple": "aarch64-linux-gnu"}).check()


def test_an_older_machine_is_built_for_and_its_library_runs_on_a_newer_one(
    upstream_source: Upstream, tmp_path: Path
) -> None:
    """As README's first command would on that machine, as far as its code can run here."""
    assert upstream_source.pinned
    if running().machine != "x86_64":
        pytest.skip("cannot run x86-64 code here")
    described = str(FOLDER / "intel-pentium-without-avx.txt")
    done = call("verify", "scoring_head", "--seeds", "1", cwd=tmp_path, timeout=600, SAM3PORT_CPUINFO=described)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_newer_machine_is_built_for_and_its_library_is_refused_here(
    upstream_source: Upstream, tmp_path: Path
) -> None:
    """With one line, and before an instruction of it runs."""
    assert upstream_source.pinned
    has = running().features
    if running().machine != "x86_64" or (has is not None and "avx512fp16" in has):
        pytest.skip("this machine has what the recorded one has")
    described = str(FOLDER / "intel-sapphire-rapids-vm.txt")
    built = call("build", "scoring_head", "--out", "built", cwd=tmp_path, timeout=600, SAM3PORT_CPUINFO=described)
    assert built.returncode == 0, built.stderr
    with pytest.raises(InputError, match=r"needs a CPU with .*avx512"):
        Compiled(tmp_path / "built" / "scoring_head")
    refused = call("verify", "--built", "built", cwd=tmp_path, timeout=600, SAM3PORT_CPUINFO=described)
    assert refused.returncode == 2, refused.stderr
    assert "avx512" in refused.stderr and "Traceback" not in refused.stderr


def test_a_path_with_nothing_in_it_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(UsageError, match=VARIABLE):
        CpuTarget().identity()
