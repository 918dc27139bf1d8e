"""What a build shows on a terminal and in a log."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from sam3port.build.progress import LINK, MODEL, State, Step
from sam3port.build.request import BuildRequest
from sam3port.cli.build.progress import Lines, LiveTable, show
from sam3port.compiler.stage import Stage

REQUEST = BuildRequest(components=("one", "two"), until=Stage.IMPORT)


def rendered(table: LiveTable) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(table.render())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_row_for_each_component_and_a_column_for_each_stage() -> None:
    shown = rendered(LiveTable(Console(file=io.StringIO()), REQUEST))
    assert "one" in shown
    assert "two" in shown
    assert "export" in shown
    assert "import" in shown
    assert "compile" not in shown


def test_the_linked_model_has_a_row_and_a_column_of_its_own() -> None:
    table = LiveTable(Console(file=io.StringIO()), REQUEST, linked=True)
    table.step(Step(MODEL, LINK, State.DONE, 23.4))
    shown = rendered(table)
    (row,) = [line for line in shown.splitlines() if "model" in line]
    assert "23.4 s" in row
    assert "link" in shown
    assert "model" not in rendered(LiveTable(Console(file=io.StringIO()), REQUEST))


def test_states_times_and_memory() -> None:
    table = LiveTable(Console(file=io.StringIO()), REQUEST)
    table.step(Step("one", Stage.EXPORT, State.CACHED))
    table.step(Step("one", Stage.IMPORT, State.DONE, 12.34, 5 * 2**20))
    table.step(Step("two", Stage.EXPORT, State.RUNNING))
    table.memory(300 * 2**20)
    table.memory(100 * 2**20)
    shown = rendered(table)
    assert "cached" in shown
    assert "12.3 s" in shown
    assert "0 s ..." in shown
    assert "100 MiB, at most 300 MiB" in shown
    table.step(Step("two", Stage.EXPORT, State.FAILED))
    assert "failed" in rendered(table)


def test_lines_say_what_ended_and_nothing_twice() -> None:
    written = io.StringIO()
    lines = Lines(Console(file=written, width=40))
    lines.step(Step("one", Stage.EXPORT, State.RUNNING))
    assert written.getvalue() == ""
    lines.step(Step("one", Stage.EXPORT, State.DONE, 1.25, 7 * 2**20))
    lines.note("a note with [brackets] that is longer than forty columns are wide")
    first, second = written.getvalue().splitlines()
    assert first.split()[-7:] == ["one", "export", "done", "1.2", "s", "7", "MiB"]
    assert second.endswith("a note with [brackets] that is longer than forty columns are wide")


def test_lines_where_nobody_looks_at_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with show(REQUEST) as progress:
        assert isinstance(progress, Lines)
        progress.note("here")
    assert "here" in capsys.readouterr().err
