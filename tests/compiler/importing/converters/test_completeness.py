"""Every converter has a test of its own, and says why it is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.compiler.importing.conftest import CONVERTERS

OURS = {name: made for name, made in CONVERTERS.items() if made.convert.__module__.startswith("sam3port.")}


@pytest.mark.parametrize("operator", OURS)
def test_a_converter_has_a_test_and_a_reason(operator: str) -> None:
    converter = OURS[operator]
    assert converter.reason
    assert converter.retire_when
    module = converter.convert.__module__.rpartition(".")[2]
    assert Path(__file__).with_name(f"test_{module}.py").exists()


def test_every_file_of_converters_is_delivered() -> None:
    from sam3port.compiler.importing import converters

    files = {file.stem for file in Path(converters.__file__).parent.glob("*.py")} - {"__init__"}
    assert files == {made.convert.__module__.rpartition(".")[2] for made in OURS.values()}
