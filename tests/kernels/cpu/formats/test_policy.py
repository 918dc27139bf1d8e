"""The table that says which product takes which number format, as people read it and as it is applied."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from tvm import tirx

from sam3port import kernels
from sam3port.kernels.cpu.formats import bfloat16
from sam3port.kernels.cpu.formats.cpu import Cpu
from sam3port.kernels.cpu.formats.float32 import FLOAT32
from sam3port.kernels.cpu.formats.format import Format
from sam3port.kernels.cpu.formats.micro_kernel import AVX512_BF16, NEON_BF16
from sam3port.kernels.cpu.formats.policy import FEW_ROWS, RULES, Kind, Site, format_for, rules_for

PLAIN = Cpu(lanes=8, registers=16, cores=2)
PAIRING = replace(PLAIN, features=frozenset({AVX512_BF16}))
PAIRS = bfloat16.pairs_on(PAIRING)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("rows", [1, 1000])
@pytest.mark.parametrize("cpu", [PLAIN, PAIRING], ids=["plain", "pairs"])
def test_a_build_in_float32_is_float32_everywhere(kind: Kind, rows: int, cpu: Cpu) -> None:
    assert format_for(Site(kind, rows), cpu, "float32") == FLOAT32


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("cpu", [PLAIN, PAIRING], ids=["plain", "pairs"])
def test_who_asks_for_float32_gets_it(kind: Kind, cpu: Cpu) -> None:
    asking = Site(kind, 1000, "float32")
    assert format_for(asking, cpu, "bfloat16") == FLOAT32
    assert (asking.precision("bfloat16"), Site(kind, 1000).precision("bfloat16")) == ("float32", "bfloat16")


@pytest.mark.parametrize(
    ("kind", "many", "few", "without_the_instruction"),
    [
        (Kind.LINEAR, PAIRS, bfloat16.WEIGHTS_WIDENED, bfloat16.WIDENED),
        (Kind.PRODUCT, PAIRS, bfloat16.WEIGHTS_WIDENED, bfloat16.WIDENED),
        (Kind.CONVOLUTION, PAIRS, PAIRS, bfloat16.WIDENED),
        (Kind.ATTENTION, PAIRS, FLOAT32, FLOAT32),
    ],
)
def test_a_build_in_bfloat16(kind: Kind, many: Format, few: Format, without_the_instruction: Format) -> None:
    assert format_for(Site(kind, FEW_ROWS + 1), PAIRING, "bfloat16") == many
    assert format_for(Site(kind, tirx.Var("n", "int64")), PAIRING, "bfloat16") == many, "unknown is many"
    assert format_for(Site(kind, FEW_ROWS), PAIRING, "bfloat16") == few
    assert format_for(Site(kind, FEW_ROWS + 1), PLAIN, "bfloat16") == without_the_instruction


def test_each_instruction_for_pairs_has_its_format() -> None:
    arm = bfloat16.pairs_on(replace(PLAIN, features=frozenset({NEON_BF16})))
    assert PAIRS is not None and arm is not None
    assert (PAIRS.dot.feature, arm.dot.feature) == (AVX512_BF16, NEON_BF16)
    assert bfloat16.pairs_on(PLAIN) is None


def test_an_unknown_precision_is_no_rules() -> None:
    with pytest.raises(ValueError, match="float8"):
        format_for(Site(Kind.LINEAR, 100), PLAIN, "float8")


@pytest.mark.parametrize("cpu", [PLAIN, PAIRING], ids=["plain", "pairs"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_is_shown_is_what_holds(cpu: Cpu, precision: str) -> None:
    """Every choice is made by a rule that is shown, and every rule that is shown makes one."""
    shown = list(rules_for(cpu, precision))
    used = set()
    for kind in Kind:
        for rows in (1, FEW_ROWS + 1):
            for out_dtype in ("", "float32"):
                site = Site(kind, rows, out_dtype)
                rule, found = next(each for each in shown if each[0].fits(site, precision))
                assert found == format_for(site, cpu, precision)
                used.add(rule)
    assert used == {rule for rule, _ in shown} <= set(RULES)


def test_nobody_but_a_formats_own_file_asks_for_it_by_name() -> None:
    folder = Path(kernels.__path__[0])
    naming = [file for file in folder.rglob("*.py") if re.search('bfloat16"', file.read_text(encoding="utf-8"))]
    assert naming == [Path(bfloat16.__file__)]
