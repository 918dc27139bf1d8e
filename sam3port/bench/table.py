"""The results as rows of text, for a terminal and for a report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sam3port.bench.contestants import Contestant
from sam3port.bench.figures import Results, Row

COLUMNS: Final = (
    *("component", "contestant", "median", "p95", "runs", "GFLOP/s", "of FMA limit", "peak memory", "opened", "error"),
    "tvm is",
)


def lines(results: Results) -> Iterator[tuple[str, ...]]:
    """The cells of `COLUMNS`, component by component; the absent stand with their reason in place of figures."""
    for component in results.components():
        for contestant in Contestant:
            row = results.row(component, contestant)
            if row is not None:
                yield _cells(results, row)
            for each in results.absent:
                if (each.component, each.contestant) == (component, contestant):
                    yield (component, str(contestant), *["-"] * (len(COLUMNS) - 3), each.problem)


def _cells(results: Results, row: Row) -> tuple[str, ...]:
    limit, speedup = results.limit(row.dtype), results.speedup(row.component, row.contestant)
    return (
        row.component,
        str(row.contestant),
        seconds(row.median_s),
        seconds(row.percentile(95)),
        str(len(row.seconds)),
        "" if row.gflops is None else f"{row.gflops:.1f}",
        "" if row.gflops is None or limit is None else f"{row.gflops / limit:.0%}",
        f"{row.peak_rss_bytes / 2**30:.2f} GiB",
        f"{row.opened_s:.1f} s",
        "" if row.max_abs_error is None else f"{row.max_abs_error:.1e}",
        "" if speedup is None or row.contestant is Contestant.TVM else f"{speedup:.2f} x as fast",
    )


def seconds(value: float) -> str:
    """With three digits, in ms below a second."""
    return f"{value:.3g} s" if value >= 1 else f"{value * 1e3:.3g} ms"
