"""Which product takes which number format: one table, read from above; the first rule that fits holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sam3port.kernels.cpu.codegen.emit import Dim
from sam3port.kernels.cpu.formats import bfloat16
from sam3port.kernels.cpu.formats.cpu import Cpu
from sam3port.kernels.cpu.formats.float32 import FLOAT32
from sam3port.kernels.cpu.formats.format import Arithmetic, Format

FEW_ROWS: Final = 24
"""Rows of the left operand up to which a product has few, see `RULES`."""


class Kind(StrEnum):
    """What a product is a part of."""

    LINEAR = "linear layer"
    PRODUCT = "product of activations"
    CONVOLUTION = "convolution"
    ATTENTION = "attention"


@dataclass(frozen=True, slots=True)
class Site:
    """A place in a graph where a format has to be chosen."""

    kind: Kind
    """What the product is a part of."""
    rows: Dim
    """Rows of the left operand, in an attention queries; a symbolic number counts as many."""
    out_dtype: str = ""
    """What the graph asks the product to be computed in, by the attribute of that name; empty: it does not ask."""

    @property
    def has_few_rows(self) -> bool:
        """Whether there are at most `FEW_ROWS` rows."""
        return isinstance(self.rows, int) and self.rows <= FEW_ROWS

    def precision(self, asked: str) -> str:
        """What operands are rounded to, in a build that is `asked` for a precision."""
        return FLOAT32.precision if self.out_dtype == FLOAT32.precision else asked


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table."""

    precision: str
    """What the build is asked for."""
    kinds: tuple[Kind, ...]
    """Which sites the rule is for."""
    format: Callable[[Cpu], Format | None]
    """What they take on a CPU; None: the rule does not fit that CPU."""
    why: str
    """The reason for the rule, in words for people."""
    only_few_rows: bool = False
    """Whether the rule is for sites with few rows alone."""
    only_asked_for_float32: bool = False
    """Whether the rule is for sites alone that ask for float32 by themselves."""

    def fits(self, site: Site, precision: str) -> bool:
        """Whether the rule is for such a site; its format may still be none that the CPU has."""
        return (
            self.precision == precision
            and site.kind in self.kinds
            and (site.has_few_rows or not self.only_few_rows)
            and (site.out_dtype == FLOAT32.precision or not self.only_asked_for_float32)
        )

    def __str__(self) -> str:
        """Which sites the rule is for, in words."""
        kinds = "everything" if self.kinds == _ALL else ", ".join(self.kinds)
        if self.only_asked_for_float32:
            return f"{kinds} that the model computes in float32"
        return f"{kinds} of at most {FEW_ROWS} rows" if self.only_few_rows else kinds


_ALL: Final = tuple(Kind)


def _always(format: Format) -> Callable[[Cpu], Format | None]:
    return lambda _cpu: format


RULES: Final = (
    Rule(FLOAT32.precision, _ALL, _always(FLOAT32), "the build is in float32"),
    Rule(
        bfloat16.PRECISION,
        _ALL,
        _always(FLOAT32),
        "rounding there would change results that the model protects",
        only_asked_for_float32=True,
    ),
    Rule(
        bfloat16.PRECISION,
        (Kind.LINEAR, Kind.PRODUCT),
        _always(bfloat16.WEIGHTS_WIDENED),
        "few tokens are all that a prompt is, and rounding them would save next to nothing",
        only_few_rows=True,
    ),
    Rule(
        bfloat16.PRECISION,
        (Kind.ATTENTION,),
        _always(FLOAT32),
        "few tokens are all that a prompt is, and rounding them would save next to nothing",
        only_few_rows=True,
    ),
    Rule(bfloat16.PRECISION, _ALL, bfloat16.pairs_on, "an instruction multiplies and adds two at a time"),
    Rule(
        bfloat16.PRECISION,
        (Kind.ATTENTION,),
        _always(FLOAT32),
        "without that instruction rounding would cost time or digits, and save nothing",
    ),
    Rule(
        bfloat16.PRECISION,
        (Kind.LINEAR, Kind.PRODUCT, Kind.CONVOLUTION),
        _always(bfloat16.WIDENED),
        "without that instruction weights take half the memory, and results are those of other CPUs",
    ),
)


def format_for(site: Site, cpu: Cpu, precision: str) -> Format:
    """What a product is computed in.

    Args:
        site: the product.
        cpu: what the kernel is made for.
        precision: what the build is asked for, ``float32`` or ``bfloat16``.

    Raises:
        ValueError: no rule fits: there is no such precision.
    """
    for rule in RULES:
        if rule.fits(site, precision) and (found := rule.format(cpu)) is not None:
            return found
    raise ValueError(f"no rule says what {site.kind} is computed in for {precision}")


def arithmetic_for(site: Site, cpu: Cpu, precision: str) -> Arithmetic:
    """As `format_for`, with the CPU."""
    return Arithmetic(cpu, format_for(site, cpu, precision))


def rules_for(cpu: Cpu, precision: str) -> Iterator[tuple[Rule, Format]]:
    """The rules that can hold in a build for a CPU, from above, and what sites take by them."""
    reached = set(Kind)
    for rule in RULES:
        found = rule.format(cpu)
        if rule.precision != precision or found is None or reached.isdisjoint(rule.kinds):
            continue
        yield rule, found
        if not rule.only_few_rows and not rule.only_asked_for_float32:
            reached -= set(rule.kinds)
