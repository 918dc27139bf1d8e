"""What whole commands took: as lines, as a page, as a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sam3port.bench.commands import STAGES, CommandRow
from sam3port.placing import replacing
from sam3port.verify.compact import compact

HEADINGS: Final = ("command", "picture", "objects", "seconds", "CPU s", "start", *STAGES, "peak")
_COLOURS: Final = ("#b0b0b0", "#1f6fb4", "#c8102e", "#e98a15", "#6b8e23", "#8e5ea2", "#40a0a0")


def cells(row: CommandRow) -> tuple[str, ...]:
    """A line of the table, in the order of `HEADINGS`."""
    return (
        row.command,
        "" if row.megapixels is None else f"{row.megapixels:g} MP",
        "" if row.objects is None else str(row.objects),
        f"{row.seconds:.2f}",
        f"{row.cpu_s:.2f}",
        f"{_rest(row):.2f}" if row.stages else "",
        *(f"{row.stages[name]:.2f}" if row.stages else "" for name in STAGES),
        f"{row.peak_bytes / 2**20:.0f} MiB",
    )


def write_report(rows: Sequence[CommandRow], about: Mapping[str, Any], folder: Path) -> list[Path]:
    """``COMMANDS.md``, ``commands.json`` and ``commands.png`` in a folder, made if absent."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / name for name in ("COMMANDS.md", "commands.json", "commands.png")]
    content = {**about, "rows": [row.as_json() for row in rows]}
    for file, text in zip(files, (_page(rows, about), compact(content)), strict=False):
        with replacing(file) as stream:
            stream.write(text.encode())
    _plot(rows, str(about["preset"]), files[2])
    return files


def _page(rows: Sequence[CommandRow], about: Mapping[str, Any]) -> str:
    lines = [
        "# Whole commands",
        "",
        f"`{about['command']}` on {about['machine']}, preset {about['preset']}: seconds from the start of the process",
        f"to its end, the median of {rows[0].runs}. *start* is all but the stages: Python, TVM, opening the artifact.",
        f"Weights: {about['weights']}.",
        "",
        "![stages of segment](commands.png)",
        "",
        f"| {' | '.join(HEADINGS)} |",
        "|---|---|" + "--:|" * (len(HEADINGS) - 2),
        *(f"| {' | '.join(cells(row))} |" for row in rows),
        "",
    ]
    return "\n".join(lines)


def _plot(rows: Sequence[CommandRow], preset: str, file: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    shown = [row for row in rows if row.stages]
    names = [f"{row.megapixels:g} MP, {row.objects} object{'s' if row.objects != 1 else ''}" for row in shown]
    figure, (times, memory) = plt.subplots(
        1, 2, figsize=(11, 1.6 + 0.4 * len(shown)), layout="constrained", width_ratios=(3, 1), sharey=True
    )
    left = [0.0] * len(shown)
    for name, colour in zip(("start", *STAGES), _COLOURS, strict=True):
        widths = [_rest(row) if name == "start" else row.stages[name] for row in shown]
        times.barh(names, widths, left=left, color=colour, label=name)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    times.invert_yaxis()
    times.set_xlabel("seconds")
    times.legend(fontsize=8, ncols=4, loc="upper right")
    memory.barh(names, [row.peak_bytes / 2**20 for row in shown], color=_COLOURS[0])
    memory.set_xlabel("peak memory, MiB")
    for axes in (times, memory):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"sam3port segment, preset {preset}", fontsize=11)
    with replacing(file) as stream:
        figure.savefig(stream, dpi=110, format="png", metadata={"Software": None})
    plt.close(figure)


def _rest(row: CommandRow) -> float:
    return max(row.seconds - sum(row.stages.values()), 0.0)
