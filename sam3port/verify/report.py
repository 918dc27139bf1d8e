"""The report of a proof: JSON for machines, Markdown and a plot for people."""

from __future__ import annotations

import dataclasses
import math
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from sam3port.placing import replacing
from sam3port.upstream import pin
from sam3port.verify.compact import compact
from sam3port.verify.judge import STAGES, Verdict
from sam3port.verify.plot import plot
from sam3port.verify.precision import PRECISIONS
from sam3port.verify.proof import Proof
from sam3port.verify.runs import Run

JSON: Final = "verification_report.json"
MARKDOWN: Final = "VERIFICATION_REPORT.md"
PLOT: Final = "verification_errors.png"


def write_report(proof: Proof, folder: Path, command: str) -> list[Path]:
    """Writes the three files, each whole or not at all. ``command`` is what made them."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {JSON: compact(content(proof, command)), MARKDOWN: markdown(proof, command)}
    for name, text in files.items():
        with replacing(folder / name) as stream:
            stream.write(text.encode())
    plot(proof, folder / PLOT)
    return [folder / name for name in (*files, PLOT)]


def content(proof: Proof, command: str) -> dict[str, Any]:
    """The report as JSON holds it."""
    packages = ("torch", "torchvision", "apache-tvm", "numpy", "sam3port")
    build = proof.build.as_json()
    del build["tuned"], build["until"]  # schedules change how fast it is, and the last stage is the library
    for private in ("checkpoint", "base", "upstream"):
        build[private] = Path(build[private]).name if build[private] else None
    return {
        "passed": proof.passed,
        "command": command,
        "upstream": pin.COMMIT,
        "build": build,
        "seeds": proof.seeds,
        "max_ratio": PRECISIONS[proof.build.dtype].max_ratio,
        "machine": f"{platform.system()} {platform.machine()}",
        "versions": {name: version(name) for name in packages},
        "runs": {
            str(run): {
                "patches": list(outcome.patches),
                "seconds": round(outcome.seconds, 1),
                "memory_mib": round(outcome.memory / 2**20),
            }
            for run, outcome in proof.outcomes.items()
        },
        "failures": [dataclasses.asdict(failure) for failure in proof.failures],
        "comparisons": len(proof.verdicts),
        "shortcomings": proof.shortcomings,
        "outputs": [summary(group) for group in worst_by_output(proof)],
    }


def summary(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """One output over all its cases: the worst of everything, and the case that is worst by what decides."""
    worst = max(verdicts, key=lambda each: (not each.passed, each.ratio, each.error.excess))
    errors = [each.error for each in verdicts]
    return {
        "component": worst.component,
        "output": worst.output,
        "passed": all(each.passed for each in verdicts),
        "cases": [each.case for each in verdicts],
        "max_absolute": max(each.max_absolute for each in errors),
        "mean_absolute": max(each.mean_absolute for each in errors),
        "root_mean_square": max(each.root_mean_square for each in errors),
        "max_relative": max(each.max_relative for each in errors),
        "share_within_1e-5": min(each.strict_share for each in errors),
        "own_error": max(each.own for each in verdicts),
        "excess": max(each.excess for each in errors),
        "ratio_to_float64": max(each.ratio for each in verdicts),
        "stages": {stage: max(each.stages.get(stage, math.inf) for each in verdicts) for stage in STAGES},
        "rtol": worst.tolerance.rtol,
        "atol": worst.tolerance.atol,
        "worst_case": worst.case,
        "worst_at": list(worst.error.worst),
        "found": worst.error.found,
        "expected": worst.error.expected,
    }


def worst_by_output(proof: Proof) -> list[list[Verdict]]:
    """The verdicts of every output over all cases, in the order of the proof."""
    groups: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in proof.verdicts:
        groups.setdefault((verdict.component, verdict.output), []).append(verdict)
    return list(groups.values())


def markdown(proof: Proof, command: str) -> str:
    """The report as people read it: the worst case of every output, then everything that falls short."""
    build = proof.build
    size = f" at {build.resolution} pixels" if build.resolution else ""
    weights = f"weights of {build.checkpoint.name}" if build.checkpoint else f"weights from seed {build.seed}"
    precision = PRECISIONS[build.dtype]
    shortcomings = proof.shortcomings
    reference = proof.outcomes.get(Run.REFERENCE)
    patches = ", ".join(f"`{name}`" for name in reference.patches) if reference else ""
    lines = [
        f"# Verification of `{build.preset}`{size} on {build.target}, {build.dtype}",
        "",
        f"**{'Passed' if proof.passed else 'FAILED'}**: {len(proof.verdicts)} comparisons"
        f" of {len(proof.build.components)} components, {len(shortcomings)} fall short.",
        "",
        f"Upstream sam3 at `{pin.COMMIT}`, {weights}. The reference has the portability patches only ({patches});",
        f"{proof.seeds} random inputs and the edges of each component, none of which a build has seen. Made by",
        "",
        f"```sh\n{command}\n```",
        "",
        *_failed(shortcomings),
        "Of every output the worst over all its cases. *max abs*, *mean abs*, *max rel*: errors of the port against"
        " upstream's float32.",
        "*within 1e-5*: the share of elements within rtol = atol = 1e-5. *of tolerance*: " + precision.allowed_in_text,
        "*ratio*: the port's error against a float64 run of upstream over "
        + precision.yardstick_in_text
        + f" (up to {precision.max_ratio:g} passes). *{'*, *'.join(STAGES)}*:",
        "the largest absolute error that each stage added: patched against unpatched PyTorch, the exported program"
        " against that, TVM against the exported program.",
        "",
        "| component | output | cases | max abs | mean abs | max rel | within 1e-5 | own | of tolerance | ratio | "
        + " | ".join(STAGES)
        + " | |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|" + "--:|" * len(STAGES) + "---|",
    ]
    for worst in map(summary, worst_by_output(proof)):
        cells = [
            f"`{worst['component']}`",
            f"`{worst['output']}`",
            str(len(worst["cases"])),
            *(f"{worst[name]:.2e}" for name in ("max_absolute", "mean_absolute", "max_relative")),
            f"{worst['share_within_1e-5']:.2%}",
            f"{worst['own_error']:.1e}",
            f"{worst['excess']:.3f}",
            f"{worst['ratio_to_float64']:.2f}",
            *(f"{error:.1e}" for error in worst["stages"].values()),
            "pass" if worst["passed"] else "**FAIL**",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", f"![errors by component]({PLOT})", ""]
    return "\n".join(lines)


def _failed(shortcomings: list[str]) -> list[str]:
    if not shortcomings:
        return []
    return ["## What falls short", "", *(f"- {line}" for line in shortcomings), "", "## All outputs", ""]
