"""``sam3port checkpoint`` and the options that name one, as a user meets them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.cli.conftest import Program


def test_what_a_file_is(sam3port: Program, tmp_path: Path) -> None:
    torch.save({"backbone.vision_backbone.trunk.pos_embed": torch.zeros(1, 17, 64)}, tmp_path / "x.pt")
    done = sam3port("checkpoint", "x.pt")
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:3] == [
        "what        SAM 3 with upstream's names",
        "tensors     1, float32",
        "sizes       of no preset",
    ]
    assert "the text encoder" in lines[3]
    assert "give --base FILE" in lines[3]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("checkpoint", "nowhere.pt"), "there is no checkpoint nowhere.pt"),
        (("checkpoint", "hf:me/mine"), "hf:me/mine names no file\n  -> say which"),
        (("build", "--base", "sam3.pt"), "--base gives what a checkpoint lacks, and there is none"),
        (("bench", "--against", "none", "--checkpoint", "nowhere.pt"), "there is no checkpoint nowhere.pt"),
    ],
)
def test_wrong_use(sam3port: Program, arguments: tuple[str, ...], said: str) -> None:
    done = sam3port(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_environment_names_one(sam3port: Program, tmp_path: Path) -> None:
    (tmp_path / "page.pt").write_text("<html>Log in</html>")
    done = sam3port("build", SAM3PORT_CHECKPOINT="page.pt")
    assert done.returncode == 2
    assert "page.pt is a web page" in done.stderr
    done = sam3port("build", "--seed", "1", "--until", "nonsense", SAM3PORT_CHECKPOINT="page.pt")
    assert "no stage named nonsense" in done.stderr, "a seed that is asked for goes before it"
