"""The order of the stages."""

from __future__ import annotations

import pytest

from sam3port.compiler.stage import FILES, ORDER, Stage, stage_named
from sam3port.errors import UsageError


def test_each_stage_reads_what_the_one_before_left() -> None:
    assert [stage.predecessor for stage in ORDER] == [None, *ORDER[:-1]]


def test_through_ends_with_the_stage_itself() -> None:
    assert Stage.IMPORT.through() == (Stage.EXPORT, Stage.IMPORT)
    assert Stage.COMPILE.through() == ORDER


def test_no_file_belongs_to_two_stages() -> None:
    names = [file for stage in ORDER for file in FILES[stage]]
    assert len(names) == len(set(names))
    assert set(FILES) == set(Stage)


def test_an_unknown_stage_is_refused_with_the_known_ones() -> None:
    assert stage_named("import") is Stage.IMPORT
    with pytest.raises(UsageError, match="link") as caught:
        stage_named("link")
    assert "export, import, optimise, pack, kernels, compile" in caught.value.remedy
