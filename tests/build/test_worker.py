"""What a worker does between its events, when the build has acted on the last one at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sam3port.build.request import BuildRequest
from sam3port.build.worker import work
from sam3port.compiler import ir
from sam3port.compiler.stage import KERNELS, LIBRARY, OPTIMISED, Stage
from sam3port.kernels.common.naming import named_by_content
from sam3port.upstream.source import Upstream
from tests.compiler.importing.functions import small


def test_files_of_a_stage_that_is_done_may_be_gone(tmp_path: Path, upstream_source: Upstream) -> None:
    """A build moves them to their place while the worker goes on with the next stage."""
    folders = {stage: tmp_path / stage for stage in (Stage.OPTIMISE, Stage.KERNELS, Stage.COMPILE)}
    for folder in folders.values():
        folder.mkdir()
    ir.save(named_by_content(small()), folders[Stage.OPTIMISE] / OPTIMISED)
    events: list[tuple[str, str | None]] = []

    def emit(event: str, **content: Any) -> None:
        events.append((event, content.get("stage")))
        if event == "done":
            folders[Stage(content["stage"])].rename(tmp_path / f"{content['stage']}.moved")

    request = BuildRequest(components=("small",), upstream=upstream_source.root)
    job = {
        "kind": "lower",
        "request": request.as_json(),
        "component": "small",
        "store": str(tmp_path / "store"),
        "sources": {Stage.OPTIMISE: str(folders.pop(Stage.OPTIMISE))},
        "folders": {stage: str(folder) for stage, folder in folders.items()},
    }
    (tmp_path / "store").mkdir()
    work(job, emit)
    assert [event for event in events if event[0] != "count"] == [
        *[("start", "kernels"), ("done", "kernels"), ("start", "compile"), ("done", "compile"), ("finished", None)],
    ]
    assert [event for event in events if event[0] == "count"] == [("count", "kernels")] * 3
    assert (tmp_path / "kernels.moved" / KERNELS).exists()
    assert (tmp_path / "compile.moved" / LIBRARY).exists()
