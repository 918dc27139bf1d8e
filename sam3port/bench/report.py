"""The report of contests: JSON for machines, Markdown and plots for people.

A full contest takes hours, so a report is made of runs: a new one takes the place of what older ones say about the same
components, preset, type and number of threads, and the rest stays.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from sam3port.bench.figures import NO_INSTRUCTION, Results
from sam3port.bench.plot import plot
from sam3port.bench.run import BenchRun
from sam3port.bench.table import COLUMNS, lines
from sam3port.errors import UsageError
from sam3port.placing import replacing
from sam3port.verify.compact import compact
from sam3port.verify.precision import BFLOAT16

JSON: Final = "performance.json"
MARKDOWN: Final = "PERFORMANCE.md"


def earlier_runs(folder: Path) -> list[BenchRun]:
    """What a report in ``folder`` is made of; nothing where there is none.

    Raises:
        UsageError: the file there is no such report.
    """
    file = folder / JSON
    if not file.exists():
        return []
    try:
        return [BenchRun.from_json(run) for run in json.loads(file.read_text(encoding="utf-8"))["runs"]]
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{file} is no report of sam3port bench ({error!r})", "move it away, or name another DIR"
        ) from error


def collected(earlier: Iterable[BenchRun], new: BenchRun) -> list[BenchRun]:
    """All runs, without what ``new`` has measured again."""
    again = new.results.components()
    kept = [
        BenchRun(run.results.without(again), run.about) if run.title == new.title else run
        for run in earlier
    ]  # fmt: skip
    return [*(run for run in kept if run.results.components()), new]


def write_report(runs: Sequence[BenchRun], order: Sequence[str], folder: Path) -> list[Path]:
    """Writes the report, each file whole or not at all.

    Args:
        runs: what it is made of.
        order: of the components; others come after them.
        folder: made where it is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = _tables(runs, order)
    texts = {
        JSON: compact({"runs": [run.as_json() for run in runs]}),
        MARKDOWN: markdown(runs, tables),
    }
    for name, text in texts.items():
        with replacing(folder / name) as stream:
            stream.write(text.encode())
    for title, results in tables.items():
        plot(results, title, folder / plot_name(title))
    return [folder / name for name in (*texts, *map(plot_name, tables))]


def plot_name(title: str) -> str:
    """Of the plot beside a table."""
    return f"performance-{'-'.join(re.findall(r'[A-Za-z0-9]+', title))}.png"


def markdown(runs: Sequence[BenchRun], tables: dict[str, Results]) -> str:
    """The report as people read it."""
    lines_of = [
        "# Speed",
        "",
        "All contestants have the same inputs and threads, and take turns: first a warm-up, then some rounds, after"
        " each of which the order changes. Ratios are of times within one run.",
        "*error*: largest absolute difference from upstream in float64, over all outputs (end to end: of the"
        " scores from upstream's as it runs beside it, best first, of as many objects as both keep).",
        "*opened*: from the start of the process until it can compute, compilation and packing included where they"
        " happen then.",
        "*peak memory*: of the process while it computes.",
        "*GFLOP/s*, *of FMA limit*: by the operations of the exported program; who leaves out what nobody reads, or"
        " multiplies less often, may pass 100%.",
        "*torch*: upstream as it is (portability patches only). *inductor*: `torch.compile` of the program that the"
        " port is built from, weights frozen. *onnxruntime*, *openvino*: the same program through"
        " `torch.onnx.export`.",
        "",
    ]
    for title, results in tables.items():
        lines_of += [f"## {title}", ""]
        for run in runs:
            if run.title == title:
                lines_of += [_made_by(run), "", f"```sh\n{run.about['command']}\n```", ""]
        lines_of += [
            *_table(COLUMNS, _lines(runs, title, results.components())),
            "",
            f"![time and roofline]({plot_name(title)})",
            "",
        ]
    return "\n".join(lines_of)


def _made_by(run: BenchRun) -> str:
    limit, half, read = run.results.fma_limit, run.results.bfloat16_limit, run.results.read_limit
    limits = [
        f"{limit:.0f} GFLOP/s of float32 multiply-adds" if limit else "",
        f"{half:.0f} GFLOP/s of bfloat16 multiply-adds" if half else "",
        f"{read:.1f} GB/s read from memory" if read else "",
    ]
    absent = "" if half or run.about["dtype"] != BFLOAT16.name else f" For bfloat16 the first counts: {NO_INSTRUCTION}."
    used = ", ".join(f"{name} {number}" for name, number in run.about["versions"].items())
    return (
        f"{', '.join(run.results.components())}: {run.about['machine']}, {used}; upstream sam3 at"
        f" `{run.about['upstream']}`; {run.about['rounds']} rounds, in which the machine reached at most"
        f" {', '.join(filter(None, limits))}.{absent}"
    )


def _tables(runs: Sequence[BenchRun], order: Sequence[str]) -> dict[str, Results]:
    """The results of all runs that belong into one table, by its title."""
    places = {name: place for place, name in enumerate(order)}

    def place(each: Any) -> int:
        return places.get(each.component, len(places))

    tables: dict[str, Results] = {}
    for run in runs:
        table = tables.setdefault(run.title, Results())
        for name in ("rows", "absent", "float32_limits", "bfloat16_limits", "read_limits"):
            getattr(table, name).extend(getattr(run.results, name))
    for table in tables.values():
        table.rows.sort(key=place)
        table.absent.sort(key=place)
    return dict(sorted(tables.items()))


def _lines(runs: Sequence[BenchRun], title: str, order: list[str]) -> list[tuple[str, ...]]:
    """The rows of a table. A share of the machine's limit is of that in the row's own run."""
    found = [cells for run in runs if run.title == title for cells in lines(run.results)]
    return sorted(found, key=lambda cells: order.index(cells[0]))


def _table(headings: Sequence[str], rows: Any) -> list[str]:
    return [
        f"| {' | '.join(headings)} |",
        "|---|---|" + "--:|" * (len(headings) - 2),
        *(f"| {' | '.join(cells)} |" for cells in rows),
    ]
