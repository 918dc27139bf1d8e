"""An instruction that the CPU lacks is a message, never SIGILL: also where /proc/cpuinfo is another machine's."""

from __future__ import annotations

import json
import platform
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import skimage.data
from PIL import Image

from sam3port.cli.main import main
from tests.emulated.conftest import Completed, Interpreter

On = Callable[[str], Interpreter]
Built = Callable[[str], Path]


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    Image.fromarray(skimage.data.astronaut()[:64, :64]).save(tmp_path / "astronaut.png")
    return tmp_path / "astronaut.png"


def that_needs(features: Sequence[str], artifact: Path, folder: Path) -> Path:
    """A copy of the artifact that says so."""
    shutil.copytree(artifact, folder)
    (folder / "manifest.json").chmod(0o644)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["target"]["cpu_features"] = list(features)
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def features_of(cpu: str) -> list[str]:
    """What an artifact for that x86-64 CPU says that it needs."""
    from tvm.target import Target, codegen

    from sam3port.machine.features import relevant

    return relevant(map(str, codegen.llvm_get_cpu_features(Target({"kind": "llvm", "mcpu": cpu}))), "x86_64")


def refused(ran: Completed, artifact: Path, *lacking: str) -> None:
    assert ran.returncode == 2, (ran.returncode, ran.stderr)
    said = ran.stderr.splitlines()
    assert len(said) == 2, ran.stderr
    assert f"{artifact} needs a CPU with " in said[0]
    named = said[0].partition("needs a CPU with ")[2].removesuffix(", which this one lacks").split(", ")
    assert set(lacking) <= set(named)
    assert "--mcpu" in said[1]


def test_bfloat16_is_refused_where_nothing_multiplies_it(
    on: On, built: Built, photograph: Path, tmp_path: Path
) -> None:
    artifact = built("aarch64-bfloat16")
    ran = on("neoverse-n1").sam3port("segment", photograph, "--artifact", artifact, "--text", "face", cwd=tmp_path)
    refused(ran, artifact, "bf16")


def test_avx2_is_refused_on_nehalem(on: On, built: Built, photograph: Path, tmp_path: Path) -> None:
    artifact = built("x86-64-v3")
    ran = on("nehalem").sam3port("segment", photograph, "--artifact", artifact, "--text", "face", cwd=tmp_path)
    refused(ran, artifact, "avx", "avx2", "fma")


def test_avx512_is_refused_on_haswell(on: On, built: Built, photograph: Path, tmp_path: Path) -> None:
    artifact = that_needs(features_of("x86-64-v4"), built("x86-64-v3"), tmp_path / "v4")
    ran = on("haswell").sam3port("segment", photograph, "--artifact", artifact, "--text", "face", cwd=tmp_path)
    refused(ran, artifact, "avx512f", "avx512vl")


def test_without_the_check_the_instruction_would_end_it(on: On, built: Built, photograph: Path, tmp_path: Path) -> None:
    """The emulator does lack what it should, so that what runs there shows something."""
    artifact = that_needs((), built("x86-64-v3"), tmp_path / "unchecked")
    ran = on("nehalem").sam3port("segment", photograph, "--artifact", artifact, "--text", "face", cwd=tmp_path)
    assert ran.returncode == -signal.SIGILL, (ran.returncode, ran.stderr)


def test_another_architecture_is_refused_here(
    built: Built, photograph: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["segment", str(photograph), "--artifact", str(built("neoverse-n1")), "--text", "face"])
    assert ended.value.code == 2
    here = f"{platform.system()} {platform.machine()}"
    assert f"was built for Linux aarch64, this machine is {here}" in capsys.readouterr().err
