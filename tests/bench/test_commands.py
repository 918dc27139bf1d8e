"""Whole commands, measured for real, and their report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from sam3port.bench.commands import STAGES, Asked, CommandRow, bench_commands, photograph
from sam3port.bench.commands_report import HEADINGS, cells, write_report
from sam3port.errors import Sam3PortError


def test_commands_say_what_they_took(tiny_artifact: Path, tmp_path: Path) -> None:
    said: list[str] = []
    # Of another preset than tiny there is no demo.
    asked = Asked(tiny_artifact, "small", [1], [30], 1, tmp_path)
    load, segment = bench_commands(asked, 20, said.append)
    assert (load.command, load.stages) == ("load", {})
    assert (segment.command, segment.megapixels, segment.objects, segment.runs) == ("segment", 1, 30, 1)
    assert set(segment.stages) == set(STAGES)
    assert 0 < sum(segment.stages.values()) < segment.seconds
    assert segment.peak_bytes > load.peak_bytes > 50e6
    content = json.loads((tmp_path / "segmented" / "annotations.json").read_bytes())
    assert len(content["categories"]) == 2, "20 objects of each text at most"
    assert said[-1] == "round 1: segment, 1 megapixels, 30 objects"


def test_a_command_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(Sam3PortError, match=r"sam3port load ended with status 1: .*absent does not exist"):
        bench_commands(Asked(tmp_path / "absent", "small", [], [], 1, tmp_path), 20, str)


def test_a_photograph_has_its_size(tmp_path: Path) -> None:
    with Image.open(photograph(2, tmp_path)) as image:
        assert image.size == (1633, 1225)


def test_the_report(tmp_path: Path) -> None:
    stages = dict.fromkeys(STAGES, 0.5)
    rows = [
        CommandRow("load", None, None, 1.0, 1.2, 2**28, {}, 3),
        CommandRow("segment", 12, 1, 4.25, 5, 2**29, stages, 3),
        CommandRow("segment", 12, 20, 5.0, 6, 2**29, stages, 3),
    ]
    assert len(cells(rows[0])) == len(cells(rows[1])) == len(HEADINGS)
    about = {"command": "sam3port bench", "preset": "tiny", "machine": "here", "weights": "seed 0"}
    page, figures, plot = write_report(rows, about, tmp_path / "report")
    assert "| segment | 12 MP | 1 | 4.25 | 5.00 | 1.25 | 0.50 |" in page.read_text(encoding="utf-8")
    assert len(json.loads(figures.read_bytes())["rows"]) == 3
    with Image.open(plot) as image:
        assert image.size[0] > 800
