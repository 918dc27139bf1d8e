"""The order that the suite runs in: what takes longest comes first, and what nobody has measured before it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import durations
from tests.conftest import clean_environment
from tests.durations import RECORD, longest_first, merged, module_of, recorded

ROOT = RECORD.parents[1]


def test_the_record_names_modules_that_are_there() -> None:
    """And most of those that are: a record of another suite orders nothing."""
    known = recorded()
    assert [name for name in known if not (RECORD.parent / f"{name}.py").is_file()] == []
    there = {module_of(file) for file in RECORD.parent.rglob("test_*.py")}
    assert len(known) > 0.8 * len(there)
    assert all(isinstance(seconds, int) and seconds >= 0 for seconds in known.values())


def test_they_run_in_that_order(request: pytest.FixtureRequest) -> None:
    """Those that are chosen."""
    seconds = recorded()
    ran = dict.fromkeys(module_of(item.path) for item in request.session.items)
    times = [seconds.get(name, float("inf")) for name in ran]
    assert times == sorted(times, reverse=True)


def test_a_new_module_does_not_go_last(request: pytest.FixtureRequest) -> None:
    items = list(request.session.items)
    own = module_of(Path(__file__))
    longest_first(items, {module_of(item.path): 100.0 for item in items if module_of(item.path) != own})
    assert module_of(items[0].path) == own


def test_tests_of_one_module_stay_in_their_order(request: pytest.FixtureRequest) -> None:
    items = list(request.session.items)
    longest_first(items, {module_of(item.path): 1.0 for item in items})
    assert items == list(request.session.items) or len({item.path for item in items}) > 1
    mine = [item.name for item in items if item.path == Path(__file__)]
    assert mine == [item.name for item in request.session.items if item.path == Path(__file__)]


def test_a_record_keeps_what_did_not_run_and_drops_what_is_gone(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").touch()
    assert merged({"one": 3, "gone": 9}, {"two": 4.6}, tmp_path) == {"one": 3, "two": 5}


def test_a_run_records_its_modules() -> None:
    """By the documented option, with a worker: whose reports reach the main process."""
    code = (
        "import sys, pytest; from pathlib import Path; from tests import durations;"
        "durations.recorded = lambda: {};"
        "Path.write_text = lambda self, text, **_: print(f'{self.name}: {text}');"
        "sys.exit(pytest.main(sys.argv[1:]))"
    )
    words = ("-q", "-p", "no:cacheprovider", "-n", "1", "--store-durations", "tests/test_order.py", "-k", "is_gone")
    ran = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    said = ran.stdout.partition(f"{RECORD.name}: ")[2]
    record, _ = json.JSONDecoder().raw_decode(said)
    assert list(record) == [module_of(Path(__file__))]
    assert durations.recorded() != record
