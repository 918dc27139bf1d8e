"""What a patch may declare."""

from __future__ import annotations

import pytest

from sam3port.errors import UsageError
from sam3port.patching import Edit, Kind, Patch


@pytest.mark.parametrize(
    "module", ["", "sam3port", "sam3x.model", "torch", "sam3.", "sam3..model", "sam3.a-b", "sam3/model", "sam3.class"]
)
def test_an_edit_is_of_a_module_of_sam3(module: str) -> None:
    with pytest.raises(UsageError, match="module of sam3"):
        Edit(module, "", "a", "b")


@pytest.mark.parametrize("module", ["sam3", "sam3.model", "sam3.model.decoder"])
def test_modules_that_are(module: str) -> None:
    assert Edit(module, "", "a", "b").module == module


@pytest.mark.parametrize("before", ["", " ", "\n\t"])
def test_an_edit_replaces_something(before: str) -> None:
    with pytest.raises(UsageError, match="empty text"):
        Edit("sam3.model", "f", before, "b")


def test_an_edit_changes_something() -> None:
    with pytest.raises(UsageError, match="changes nothing"):
        Edit("sam3.model", "f", "a", "a")


def patch(name: str = "demo", edits: tuple[Edit, ...] = (Edit("sam3.model", "", "a", "b"),), **other: object) -> Patch:
    return Patch(name, Kind.FIX, "s", "r", "u", "w", edits, **other)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "Demo", "a-b", "1a", "_a", "a b", "a,b", "ä", "a\n"])
def test_a_name_can_be_typed_after_disable(name: str) -> None:
    with pytest.raises(UsageError, match="named like_this"):
        patch(name)


def test_a_patch_does_something() -> None:
    with pytest.raises(UsageError, match="neither edits nor"):
        patch(edits=())
    assert patch(edits=(), prepare=lambda: None).modules == ()


def test_modules_come_once_in_the_order_of_the_edits() -> None:
    names = ("sam3.b", "sam3.a", "sam3.b")
    assert patch(edits=tuple(Edit(n, "", f"{i}", "x") for i, n in enumerate(names))).modules == ("sam3.b", "sam3.a")
