"""How long each module of tests takes, as recorded: what the order of the suite is made from.

``pytest --store-durations`` records the modules that it ran. All that a module waits for is its time, fixtures that
other modules use later included.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

RECORD: Final = Path(__file__).with_name("durations.json")
"""Seconds by module (``kernels/test_gemm``), of a run with two workers."""


def module_of(file: Path) -> str:
    return file.relative_to(RECORD.parent).with_suffix("").as_posix()


def recorded() -> dict[str, int]:
    found: dict[str, int] = json.loads(RECORD.read_text(encoding="utf-8"))
    return found


def longest_first(items: list[pytest.Item], seconds: Mapping[str, float]) -> None:
    """Sorts tests by the time of their modules. What is not recorded comes first: it could be anything.

    A worker takes the next module when it has finished one, so that the last that run are short.
    """
    items.sort(key=lambda item: -seconds.get(module_of(item.path), float("inf")))


def merged(before: Mapping[str, int], ran: Mapping[str, float], folder: Path) -> dict[str, int]:
    """The record after a run of some modules: without those that are gone from ``folder``."""
    both = {**before, **{name: round(seconds) for name, seconds in ran.items()}}
    return {name: both[name] for name in sorted(both) if (folder / f"{name}.py").is_file()}


class Recorder:
    """Adds up what reports say, and writes `RECORD` at the end."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.seconds: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = module_of(self.root / report.nodeid.partition("::")[0])
        self.seconds[name] += report.duration  # type: ignore[assignment]

    def pytest_sessionfinish(self) -> None:
        record = merged(recorded(), self.seconds, RECORD.parent)
        RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
