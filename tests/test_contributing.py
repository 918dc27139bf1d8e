"""CONTRIBUTING.md: its kernel compiles and is right, its commands and places are there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.kernels.running import CPU, random, run
from tests.test_documents import blocks

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "CONTRIBUTING.md"
PAGES = [DOCUMENT, *(ROOT / "docs" / name for name in ("architecture.md", "kernels.md", "decisions.md"))]


@pytest.mark.parametrize("shape", [(1, 1), (3, 127), (2, 4096)])
def test_the_kernel_computes_what_it_says(shape: tuple[int, int]) -> None:
    (source,) = blocks(DOCUMENT, "python")
    names: dict[str, Any] = {}
    exec(compile(source, str(DOCUMENT), "exec"), names)
    a, b = random(1, *shape), random(2, *shape)
    found = run(names["absolute_difference_func"](*shape, CPU), [a, b], shape)
    np.testing.assert_array_equal(found, np.abs(a - b))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_files_it_names_are_there(page: Path) -> None:
    """Short names are below the room that the text is about."""
    named = set(re.findall(r"`((?:\w+/)+\w+(?:\.\w+)?|\w+\.py)`", page.read_text(encoding="utf-8")))
    kernels = ROOT / "sam3port" / "kernels"
    rooms = [ROOT, ROOT / "sam3port", kernels, *(folder for folder in kernels.rglob("*") if folder.is_dir())]
    missing = [name for name in sorted(named) if not any((room / name).exists() for room in rooms)]
    assert missing == []


def test_what_tests_it_tells_to_run_are_there() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for name in re.findall(r"\btests/[\w/]+(?:\.py)?", text):
        assert (ROOT / name).exists(), name
