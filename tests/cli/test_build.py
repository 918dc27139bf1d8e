"""``sam3port build`` as a user meets it; what it builds is shown by tests/build/test_components.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.conftest import Program


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense",), "no component named nonsense\n  -> the components are vision_backbone"),
        (("--target", "abacus"), "no target named abacus\n  -> the targets are cpu"),
        (("--dtype", "float8"), "cannot compute in float8\n  -> it can in float32"),
        (("--preset", "medium"), "medium"),
        (("--resolution", "1000"), "multiple of 56"),
        (
            ("--until", "link"),
            "no stage named link\n  -> the stages are export, import, optimise, pack, kernels, compile",
        ),
        (("--seed", "1", "--checkpoint", "sam3.pt"), "--seed and --checkpoint exclude each other"),
        (("--checkpoint", "nowhere.pt"), "no checkpoint nowhere.pt"),
        (("--points", "0"), "--points"),
    ],
)
def test_wrong_use_is_refused_before_anything_is_done(
    sam3port: Program, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = sam3port("build", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "build").exists()


def test_help_names_the_stages_and_options(sam3port: Program) -> None:
    done = sam3port("build", "--help")
    assert done.returncode == 0
    options = ("--until", "--dump", "--weights", "--checkpoint", "--points", "--no-cache")
    for word in ("export, import, optimise, pack, kernels, compile", *options):
        assert word in done.stdout


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--weights", "demo", "--seed", "1"), "--weights demo and --seed exclude each other"),
        (("--weights", "demo", "--checkpoint", "sam3.pt"), "--weights demo and --checkpoint exclude each other"),
        (("--weights", "seed", "--checkpoint", "sam3.pt"), "--weights seed and --checkpoint exclude each other"),
        (("--weights", "demo", "--preset", "full"), "there are no demo weights of the preset full"),
    ],
)
def test_weights_that_exclude_each_other(sam3port: Program, words: tuple[str, ...], problem: str) -> None:
    done = sam3port("build", *words)
    assert done.returncode == 2
    assert problem in done.stderr


def test_an_unfit_folder_is_refused_before_anything_is_done(sam3port: Program, tmp_path: Path) -> None:
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "notes.txt").write_text("mine")
    done = sam3port("build")
    assert done.returncode == 2
    assert "holds something that is no part of an artifact: notes.txt\n  -> give another --out" in done.stderr
    done = sam3port("build", "--out", ".")
    assert done.returncode == 2
    assert "the current folder" in done.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["build", "notes.txt"]


def test_a_build_for_people_who_read_logs(sam3port: Program, tmp_path: Path) -> None:
    done = sam3port("build", "scoring_head", "--until", "export", "--out", "here", "--no-cache")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "built 1 component until export in here\n"
    lines = done.stderr.splitlines()
    assert "weights: those that come with sam3port; they know drawn circles" in lines[0]
    assert "building the model tiny at 112 pixels, tiny.safetensors" in lines[1]
    assert re.match(r"\[ *[\d.]+ s\] scoring_head +export +done +[\d.]+ s +\d+ MiB$", lines[2])
    assert "\x1b" not in done.stderr
    assert (tmp_path / "here" / "scoring_head" / "exported.pt2").exists()
