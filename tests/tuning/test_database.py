"""A database survives what happens to files."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sam3port.errors import UsageError
from sam3port.tuning.database import Database
from sam3port.tuning.record import Kind, Machine, Record

HERE = Machine("znver3", lanes=8, registers=16, cores=2)
TRIAL = Record(Kind.TRIAL, "linear 1x2x3 float32", HERE, {"rows": 6}, 0.5, 1.0, 2.0, 3, about={"tvm": "0.27"})
BEST = replace(TRIAL, kind=Kind.BEST, tuned=True)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "deep" / "tuning.jsonl")


def test_what_was_added_is_there(database: Database) -> None:
    assert database.records() == []
    for record in (TRIAL, BEST):
        database.add(record)
    assert database.records() == [TRIAL, BEST]
    assert database.best() == [BEST]


def test_of_several_outcomes_the_last_counts_for_each_machine(database: Database) -> None:
    there = replace(BEST, machine=replace(HERE, mcpu="znver4"))
    later = replace(BEST, schedule={"rows": 5})
    for record in (BEST, there, later):
        database.add(record)
    assert database.best() == [later, there]


def test_half_a_line_does_not_count_and_goes(database: Database) -> None:
    database.add(TRIAL)
    with database.file.open("a") as file:
        file.write('{"format": 1, "kind"')
    assert database.records() == [TRIAL]
    database.add(BEST)
    assert database.records() == [TRIAL, BEST]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("not json", "line 2 of"),
        ('{"format": 1}', "line 2 of"),
        ("[]", "line 2 of"),
        ('{"format": 2, "kind": "best"}', "has the format 2, this sam3port reads 1"),
    ],
)
def test_damage_is_named(database: Database, line: str, said: str) -> None:
    database.add(TRIAL)
    with database.file.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(UsageError, match=said):
        database.records()


def test_no_folder_to_write_in(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        Database(tmp_path / "file" / "tuning.jsonl").check_writable()


def test_processes_that_add_at_once_lose_nothing(database: Database) -> None:
    code = f"""
from pathlib import Path
from dataclasses import replace
from tests.tuning.test_database import TRIAL
from sam3port.tuning.database import Database
import sys
for number in range(40):
    Database(Path({str(database.file)!r})).add(replace(TRIAL, rounds=int(sys.argv[1]) * 100 + number))
"""
    root = Path(__file__).parents[2]
    writers = [subprocess.Popen([sys.executable, "-c", code, str(n)], cwd=root) for n in range(3)]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    assert sorted(r.rounds for r in database.records()) == sorted(n * 100 + i for n in range(3) for i in range(40))
