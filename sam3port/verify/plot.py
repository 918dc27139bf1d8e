"""The plot of a proof: every output's errors beside what is allowed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sam3port.placing import replacing
from sam3port.verify.precision import PRECISIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

    from sam3port.verify.judge import Verdict
    from sam3port.verify.proof import Proof

_GOOD, _BAD = "#1f6fb4", "#c8102e"
_FLOOR: Final = 1e-6
"""Errors of a share of the tolerance below this, exact results among them, stand at the left edge."""


def plot(proof: Proof, file: Path) -> None:
    """One row for each output, one dot for each case: the ratio to float64, and the share of the tolerance."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    from sam3port.verify.report import worst_by_output

    groups = worst_by_output(proof)
    height = 1.5 + 0.24 * max(len(groups), 1)
    figure, (ratios, shares) = plt.subplots(1, 2, sharey=True, figsize=(11, height), layout="constrained")
    precision = PRECISIONS[proof.build.dtype]
    most = precision.max_ratio
    _panel(ratios, groups, lambda v: v.ratio, most, 0.0)
    ratios.set_xlim(-0.15, most * 1.25)
    ratios.set_xlabel(f"error against float64 over {precision.yardstick}", fontsize=9)
    shares.set_xscale("log")
    _panel(shares, groups, lambda v: v.error.excess, 1.0, _FLOOR)
    shares.set_xlim(_FLOOR / 2, 10)
    shares.set_xlabel(f"error against PyTorch float32 over {precision.allowed} (left edge: none)", fontsize=9)
    ratios.set_yticks(range(len(groups)), [group[0].output for group in groups], fontsize=7)
    ratios.set_ylim(max(len(groups), 1) - 0.5, -0.5)
    _name_components(ratios, shares, groups)
    state = "passed" if proof.passed else f"{len(proof.shortcomings)} fall short"
    build = proof.build
    figure.suptitle(
        f"{build.preset}, {build.target}, {build.dtype}: {len(proof.verdicts)} comparisons, {state}", fontsize=11
    )
    with replacing(file) as stream:
        figure.savefig(stream, dpi=120, format="png", metadata={"Software": None})
    plt.close(figure)


def _panel(
    axes: Axes, groups: list[list[Verdict]], measure: Callable[[Verdict], float], limit: float, floor: float
) -> None:
    """Dots; what is over the limit is red, and what is beyond the axis stands as an arrow at its end."""
    end = limit * (1.2 if floor == 0.0 else 8)
    for row, group in enumerate(groups):
        for verdict in group:
            value = measure(verdict)
            beyond = not value <= end  # infinities and NaNs too
            shown = end if beyond or math.isnan(value) else max(value, floor)
            bad = not value <= limit
            axes.scatter(
                shown,
                row,
                s=34 if beyond else 16,
                marker=">" if beyond else "o",
                color=_BAD if bad else _GOOD,
                alpha=0.9 if bad else 0.45,
                linewidths=0,
                zorder=3,
            )
    axes.axvline(limit, color=_BAD, linestyle="--", linewidth=1, label="limit")
    axes.grid(axis="x", alpha=0.25)
    axes.tick_params(axis="x", labelsize=8)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _name_components(ratios: Axes, shares: Axes, groups: list[list[Verdict]]) -> None:
    """The component's name beside its outputs, and every other component on a grey ground."""
    start = 0
    for index, name in enumerate(dict.fromkeys(group[0].component for group in groups)):
        end = start + sum(group[0].component == name for group in groups)
        if index % 2 == 0:
            for axes in (ratios, shares):
                axes.axhspan(start - 0.5, end - 0.5, color="0.93", zorder=0, linewidth=0)
        shares.annotate(
            name,
            xy=(1.01, (start + end - 1) / 2),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8,
            fontweight="bold",
        )
        start = end
