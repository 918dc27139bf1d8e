"""The table of a proof of components, on standard output."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sam3port.verify.proof import Proof


def print_proof(proof: Proof) -> None:
    """Of every output the worst of its cases, then what falls short."""
    from rich.table import Table
    from rich.text import Text

    from sam3port.cli.console import output
    from sam3port.verify.report import worst_by_output

    console = output()
    table = Table(title=f"{proof.build.preset}, {proof.build.target}, {proof.build.dtype}", title_justify="left")
    for heading in ("component", "output", ""):
        table.add_column(heading)
    for heading in ("cases", "max abs", "mean abs", "max rel", "within 1e-5", "of tolerance", "ratio to float64"):
        table.add_column(heading, justify="right")
    for group in worst_by_output(proof):
        passed = all(v.passed for v in group)
        table.add_row(
            group[0].component,
            group[0].output,
            Text("pass", style="green") if passed else Text("FAIL", style="bold red"),
            str(len(group)),
            f"{max(v.error.max_absolute for v in group):.2e}",
            f"{max(v.error.mean_absolute for v in group):.2e}",
            f"{max(v.error.max_relative for v in group):.2e}",
            f"{min(v.error.strict_share for v in group):.2%}",
            f"{max(v.error.excess for v in group):.3f}",
            f"{max(v.ratio for v in group):.2f}",
        )
    if proof.verdicts:
        console.print(table)
    for line in proof.shortcomings:
        console.print(Text(line), soft_wrap=True)
    console.print(
        f"{len(proof.verdicts)} comparisons, {sum(not verdict.passed for verdict in proof.verdicts)} outside"
        + (f", {len(proof.failures)} runs failed" if proof.failures else ""),
        highlight=False,
    )
