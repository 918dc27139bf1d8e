"""``sam3port components`` as a user meets it."""

from __future__ import annotations

import re
from pathlib import Path

from sam3port.plugins import load_plugins
from tests.build import plugin
from tests.cli.conftest import Program


def test_all_of_them_are_listed(sam3port: Program) -> None:
    done = sam3port("components")
    assert done.returncode == 0
    for name, component in load_plugins().components().items():
        assert re.search(rf"^│ {name} ", done.stdout, re.MULTILINE)
        assert component.summary.split()[0] in done.stdout


def test_a_third_partys_too(sam3port: Program, tmp_path: Path) -> None:
    environment = plugin.install(tmp_path / "site")
    done = sam3port("components", **environment)
    assert re.search(r"^│ rows ", done.stdout, re.MULTILINE)


def test_one_is_described(sam3port: Program) -> None:
    done = sam3port("components", "scoring_head")
    assert done.returncode == 0, done.stderr
    assert "scoring_head, tiny at 112 pixels" in done.stdout
    assert re.search(r"│ prompt_mask +│ bool +│ 1 x 49 ", done.stdout)
    assert re.search(r"│ aten.linear.default +│ +\d+ │", done.stdout)
    assert re.search(r"^graph +\d+ operators$", done.stdout, re.MULTILINE)
    assert re.search(r"^parameters +[\d,]+ numbers", done.stdout, re.MULTILINE)
    assert re.search(r"^work +0\.0\d+ GFLOP", done.stdout, re.MULTILINE)
    assert "Warning" not in done.stderr


def test_an_unknown_one_is_refused_with_the_known_ones(sam3port: Program) -> None:
    done = sam3port("components", "nonsense")
    assert done.returncode == 2
    assert "the components are vision_backbone" in done.stderr
