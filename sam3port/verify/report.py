"""The report of a proof: JSON for machines, Markdown and a plot for people."""

from __future__ import annotations

import json
import math
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from sam3port.upstream import pin
from sam3port.verify.judge import MAX_RATIO, STAGES, Verdict
from sam3port.verify.proof import Proof

JSON: Final = "verification_report.json"
MARKDOWN: Final = "VERIFICATION_REPORT.md"
PLOT: Final = "verification_errors.png"


def write_report(proof: Proof, folder: Path, command: str) -> list[Path]:
    """Writes the three files, each whole or not at all. ``command`` is what made them."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {JSON: json.dumps(content(proof, command), indent=1) + "\n", MARKDOWN: markdown(proof, command)}
    for name, text in files.items():
        aside = folder / f".{name}"
        aside.write_text(text, encoding="utf-8")
        aside.replace(folder / name)
    plot(proof, folder / PLOT)
    return [folder / name for name in (*files, PLOT)]


def content(proof: Proof, command: str) -> dict[str, Any]:
    """The report as JSON holds it."""
    packages = ("torch", "torchvision", "apache-tvm", "numpy", "sam3port")
    build = proof.build.as_json()
    for private in ("checkpoint", "upstream"):
        build[private] = Path(build[private]).name if build[private] else None
    return {
        "passed": proof.passed,
        "command": command,
        "upstream": pin.COMMIT,
        "build": build,
        "seeds": proof.seeds,
        "max_ratio": MAX_RATIO,
        "machine": f"{platform.system()} {platform.machine()}",
        "versions": {name: version(name) for name in packages},
        "seconds": {name: round(value, 1) for name, value in proof.seconds.items()},
        "results": [_finite(verdict.as_json()) for verdict in proof.verdicts],
    }


def _finite(value: Any) -> Any:
    """JSON has no infinity: numbers that are not finite become words."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def worst_by_output(proof: Proof) -> list[list[Verdict]]:
    """The verdicts of every output over all cases, in the order of the proof."""
    groups: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in proof.verdicts:
        groups.setdefault((verdict.component, verdict.output), []).append(verdict)
    return list(groups.values())


def markdown(proof: Proof, command: str) -> str:
    """The report as people read it: the worst case of every output, then every failure."""
    build = proof.build
    size = f" at {build.resolution} pixels" if build.resolution else ""
    weights = f"weights of {build.checkpoint.name}" if build.checkpoint else f"weights from seed {build.seed}"
    lines = [
        f"# Verification of `{build.preset}`{size} on {build.target}, {build.dtype}",
        "",
        f"**{'Passed' if proof.passed else 'FAILED'}**: {len(proof.verdicts)} comparisons,"
        f" {sum(not v.passed for v in proof.verdicts)} outside.",
        "",
        f"Upstream sam3 at `{pin.COMMIT}` with the portability patches only, {weights};",
        f"{proof.seeds} seeds and the edges of each component, on inputs that no build has seen. Made by",
        "",
        f"```sh\n{command}\n```",
        "",
        "For every output, the worst over all cases: the largest and mean absolute error and the largest relative",
        "error of the port against upstream's float32; the smallest share of elements within rtol = atol = 1e-5; the",
        "error as a multiple of the tolerance; the error against a float64 run over PyTorch float32's own (at most",
        f"{MAX_RATIO:g}); and the largest absolute error that each stage added.",
        "",
        "| component | output | cases | max abs | mean abs | max rel | within 1e-5 | of tolerance | ratio to float64 | "
        + " | ".join(STAGES)
        + " | |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|" + "--:|" * len(STAGES) + "---|",
    ]
    for group in worst_by_output(proof):
        stages = [max(v.stages.get(stage, math.inf) for v in group) for stage in STAGES]
        cells = [
            f"`{group[0].component}`",
            f"`{group[0].output}`",
            str(len(group)),
            f"{max(v.error.max_absolute for v in group):.2e}",
            f"{max(v.error.mean_absolute for v in group):.2e}",
            f"{max(v.error.max_relative for v in group):.2e}",
            f"{min(v.error.strict_share for v in group):.2%}",
            f"{max(v.error.excess for v in group):.3f}",
            f"{max(v.ratio for v in group):.2f}",
            *(f"{stage:.1e}" for stage in stages),
            "pass" if all(v.passed for v in group) else "**FAIL**",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    failures = [v for v in proof.verdicts if not v.passed]
    if failures:
        lines += ["", "## What falls short", ""]
        lines += [f"- `{v.component}`, {v.case}, `{v.output}`: {'; '.join(v.problems)}" for v in failures]
    lines += ["", f"![errors by component]({PLOT})", ""]
    return "\n".join(lines)


def plot(proof: Proof, file: Path) -> None:
    """Error against float64 relative to PyTorch's, and error as a share of the tolerance, for every output."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    groups = worst_by_output(proof)
    names = [f"{group[0].component}.{group[0].output}" for group in groups]
    figure, (left, right) = plt.subplots(
        1, 2, sharey=True, figsize=(12, 1.2 + 0.26 * len(groups)), layout="constrained"
    )
    rows = range(len(groups))
    panels = (
        (left, [[v.ratio for v in g] for g in groups], MAX_RATIO, "error against float64, as a multiple of PyTorch's"),
        (right, [[v.error.excess for v in g] for g in groups], 1.0, "error as a share of the tolerance"),
    )
    for axes, values, limit, title in panels:
        for row, group in zip(rows, values, strict=True):
            shown = [min(value, limit * 3) for value in group]
            axes.scatter(
                shown, [row] * len(shown), s=14, alpha=0.6, color="tab:blue" if max(shown) <= limit else "tab:red"
            )
        axes.axvline(limit, color="tab:red", linestyle="--", linewidth=1)
        axes.set_title(title, fontsize=9)
        axes.set_xlim(left=0)
        axes.grid(axis="x", alpha=0.3)
    left.set_yticks(list(rows), names, fontsize=7)
    left.invert_yaxis()
    aside = file.with_name(f".{file.name}")
    figure.savefig(aside, dpi=110, format="png", metadata={"Software": None})
    plt.close(figure)
    aside.replace(file)
