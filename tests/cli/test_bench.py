"""``sam3port bench``: the whole program, and wrong use. Components are in tests/bench/test_quick.py."""

from __future__ import annotations

import json

import pytest

from sam3port.bench.contestants import Contestant
from tests.cli.conftest import Program


def test_the_whole_program_against_upstream(sam3port: Program) -> None:
    ran = sam3port("bench", "--end-to-end", "--against", "torch,inductor", "--rounds", "1", "--json", timeout=900)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert {(row["component"], row["contestant"]) for row in found["rows"]} == {
        (work, contestant)
        for work in ("end-to-end: image", "end-to-end: next prompt")
        for contestant in (Contestant.TVM, Contestant.TORCH)
    }
    assert {each["contestant"] for each in found["absent"]} == {"inductor"}
    (error,) = (row["max_abs_error"] for row in found["rows"] if row["max_abs_error"] is not None)
    assert error < 1e-3


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("bench", "nothing"), "there is no component named nothing"),
        (("bench", "--against", "mxnet"), "there is no peer named mxnet"),
        (("bench", "--against", "tvm"), "there is no peer named tvm"),
        (("bench", "scoring_head", "--end-to-end"), "--end-to-end takes all of the model, not scoring_head"),
        (("bench", "--image", "photo.png"), "photo.png"),
        (("bench", "--command", "--end-to-end"), "--command measures sam3port's own commands"),
        (("bench", "--objects", "1"), "--megapixels and --objects belong to --command"),
        (("bench", "--command", "--megapixels", "2,x"), "--megapixels 2,x is no list of numbers"),
        (("bench", "--dtype", "float8"), "cannot compute in float8"),
        (("bench", "--rounds", "0"), "0 is not in the range"),
    ],
)
def test_wrong_use_is_one_line(sam3port: Program, words: tuple[str, ...], problem: str) -> None:
    ran = sam3port(*words)
    assert ran.returncode == 2
    assert problem in ran.stderr
    assert "Traceback" not in ran.stderr
