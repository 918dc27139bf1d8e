"""Two plots of a contest: time by component and contestant, and the roofline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sam3port.bench.contestants import Contestant
from sam3port.bench.table import seconds
from sam3port.placing import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sam3port.bench.figures import Results

_COLOURS: Final = {
    Contestant.TVM: "#c8102e",
    Contestant.TORCH: "#1f6fb4",
    Contestant.INDUCTOR: "#7fb3dd",
    Contestant.ONNXRUNTIME: "#6b8e23",
    Contestant.OPENVINO: "#e0a030",
}


def plot(results: Results, title: str, file: Path) -> None:
    """Draws both into ``file``, whole or not at all."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    components = list(dict.fromkeys(row.component for row in results.rows))
    present = [each for each in Contestant if any(row.contestant is each for row in results.rows)]
    height = 2.2 + 0.2 * len(components) * (len(present) + 1)
    figure, (times, roofline) = plt.subplots(
        1, 2, figsize=(13, max(height, 4.5)), layout="constrained", width_ratios=(3, 2)
    )
    _times(times, results, components, present)
    _roofline(roofline, results, present)
    figure.suptitle(title, fontsize=11)
    with replacing(file) as stream:
        figure.savefig(stream, dpi=110, format="png", metadata={"Software": None})
    plt.close(figure)


def _times(axes: Axes, results: Results, components: list[str], present: list[Contestant]) -> None:
    """A bar for every contestant as a multiple of the port's median; the median stands beside it."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    thickness = 1 / (len(present) + 1)
    for index, component in enumerate(components):
        ours = results.row(component, Contestant.TVM)
        for place, contestant in enumerate(present):
            row = results.row(component, contestant)
            if row is None:
                continue
            unit = ours.median_s if ours is not None else row.median_s
            at = index + (place - (len(present) - 1) / 2) * thickness
            spread = np.array([[row.median_s - row.percentile(5)], [row.percentile(95) - row.median_s]]) / unit
            axes.barh(at, row.median_s / unit, thickness, color=_COLOURS[contestant], xerr=spread, ecolor="0.3")
            axes.annotate(seconds(row.median_s), (row.percentile(95) / unit, at), (4, 0),
                          textcoords="offset points", va="center", fontsize=6.5)  # fmt: skip
    axes.axvline(1, color=_COLOURS[Contestant.TVM], linewidth=0.8, linestyle="--")
    axes.set_yticks(range(len(components)), components, fontsize=8)
    axes.set_ylim(len(components) - 0.5, -0.5)
    axes.set_xlabel("median time over the port's (bars: p5 to p95)", fontsize=9)
    # Some are a hundred times as slow, which would leave no room for the others.
    axes.set_xscale("log")
    axes.set_xlim(left=0.4)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.12)
    _plain(axes)


def _roofline(axes: Axes, results: Results, present: list[Contestant]) -> None:
    """GFLOP/s over operations for each byte that has to be moved, under the two limits of the machine."""
    rows = [row for row in results.rows if row.gflops and row.flops and row.bytes_moved]
    limit, read = results.limit(rows[0].dtype if rows else "float32"), results.read_limit
    if limit is not None and read is not None:
        intensity = np.logspace(-1, 4, 200)
        axes.plot(intensity, np.minimum(limit, intensity * read), color="0.4", linewidth=1)
        axes.annotate(f"{limit:.0f} GFLOP/s", (1e4, limit), (0, 3), textcoords="offset points", ha="right", fontsize=7)
        axes.annotate(f"{read:.0f} GB/s", (0.2, 0.2 * read), (3, 6), textcoords="offset points", fontsize=7)
    for contestant in present:
        own: Any = [row for row in rows if row.contestant is contestant]
        axes.scatter(
            [row.flops / row.bytes_moved for row in own], [row.gflops for row in own],
            s=18, color=_COLOURS[contestant], label=str(contestant), zorder=3,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("operations for each byte of weights, inputs and outputs", fontsize=9)
    axes.set_ylabel("GFLOP/s", fontsize=9)
    axes.legend(fontsize=8, loc="lower right")
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.grid(alpha=0.25)
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
