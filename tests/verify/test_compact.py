"""Reports as small JSON: what a number means survives."""

from __future__ import annotations

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from sam3port.verify.compact import DIGITS, compact, shortened


def test_a_line_for_each_entry() -> None:
    content = {"passed": True, "rows": [{"a": 1.5, "b": "x"}, {"a": math.inf}], "names": ["y", "z"], "none": []}
    text = compact(content)
    assert text.splitlines()[2:6] == [' "rows": [', '  {"a":1.5, "b":"x"},', '  {"a":"inf"}', " ],"]
    assert json.loads(text) == {**content, "rows": [{"a": 1.5, "b": "x"}, {"a": "inf"}]}


def test_an_iou_that_is_nearly_one_is_not_one() -> None:
    assert shortened(0.9999823720208715) == 1 - 1.763e-05
    assert shortened([1.0, 0.5, 3, None]) == [1.0, 0.5, 3, None]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_rounded_no_further_than_its_digits(value: float) -> None:
    assert math.isclose(shortened(value), value, rel_tol=10 ** (1 - DIGITS), abs_tol=5e-324)
