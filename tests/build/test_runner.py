"""What a compiled component refuses; that it computes is shown by the builds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sam3port.artifact.interface import TensorSpec
from sam3port.build.runner import Compiled, in_order, read_record
from sam3port.compiler.errors import InputError

SPECS = (TensorSpec("image", (1, 3, 2, 2), "float32", ""), TensorSpec("mask", (1,), "bool", ""))
GOOD = {"image": np.zeros((1, 3, 2, 2), np.float32), "mask": np.zeros(1, np.bool_)}


def test_arrays_come_in_the_declared_order() -> None:
    arrays = in_order("c", SPECS, {"mask": GOOD["mask"], "image": GOOD["image"]})
    assert arrays[0] is GOOD["image"]
    assert arrays[1] is GOOD["mask"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"image": GOOD["image"]}, "lacks mask"),
        ({**GOOD, "extra": GOOD["mask"]}, "has unknown extra"),
        ({**GOOD, "image": np.zeros((1, 3, 2, 3), np.float32)}, r"image is float32\[1, 3, 2, 3\].*\[1, 3, 2, 2\]"),
        ({**GOOD, "image": np.zeros((1, 3, 2, 2))}, "image is float64.*float32"),
        ({**GOOD, "mask": np.zeros(1, np.uint8)}, "mask is uint8.*bool"),
    ],
)
def test_what_does_not_fit_is_named(given: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(InputError, match=said):
        in_order("c", SPECS, given)


def test_a_folder_without_a_build_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no built component"):
        read_record(tmp_path)


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "stage.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        read_record(tmp_path)


def test_a_build_that_stopped_early_cannot_run(tmp_path: Path) -> None:
    (tmp_path / "stage.json").write_text(json.dumps({"component": "c", "stages": {"export": {}, "import": {}}}))
    with pytest.raises(InputError, match="until import only"):
        Compiled(tmp_path)
