"""Speeds that tests have measured: no test depends on them, but whoever reads its log sees them drift."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from sam3port.bench.contestants import Contestant
from sam3port.bench.table import seconds

PROPERTY: Final = "speed"
"""The property of a test that names its file of figures: in the reports of all workers, and in JUnit's XML."""
TITLE: Final = "speed: while other tests ran, a look and no measurement"
COLUMNS: Final = ("component", "dtype", "contestant", "median", "GFLOP/s", "of FMA limit", "error", "tvm is")


def folder(factory: pytest.TempPathFactory) -> Path:
    """Where all workers of this run of the suite write figures."""
    base = factory.getbasetemp()
    found = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "speed"
    found.mkdir(exist_ok=True)
    return found


def files(reports: Iterable[pytest.TestReport]) -> list[Path]:
    """The files that tests have named, in a fixed order."""
    named = {Path(str(value)) for report in reports for name, value in report.user_properties if name == PROPERTY}
    return sorted(file for file in named if file.exists())


def lines(figures: Iterable[Path]) -> Iterator[str]:
    """A table of what ``sam3port bench --json`` printed into these files."""
    rows = [COLUMNS]
    for file in figures:
        found = json.loads(file.read_text(encoding="utf-8"))
        rows += [_cells(row, found) for row in found["rows"]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _cells(row: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[str, ...]:
    limit = found["fma_limit_gflops"][row["dtype"]] or found["fma_limit_gflops"]["float32"]
    ours = [
        each["median_s"]
        for each in found["rows"]
        if (each["component"], each["contestant"]) == (row["component"], Contestant.TVM)
    ]
    compared = ours and row["contestant"] != Contestant.TVM
    return (
        row["component"],
        row["dtype"],
        row["contestant"],
        seconds(row["median_s"]),
        f"{row['gflops']:.1f}",
        f"{row['gflops'] / limit:.0%}",
        f"{row['max_abs_error']:.1e}",
        f"{row['median_s'] / ours[0]:.2f} x as fast" if compared else "",
    )
