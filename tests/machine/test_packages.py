"""What sam3port's own metadata asks for, and what of it is missing."""

from __future__ import annotations

import importlib.metadata

import pytest

from sam3port.errors import UsageError
from sam3port.machine import packages

LINES = [
    "numpy<3",
    'tomli; python_version < "3.11"',
    'no-such-torch>=2; extra == "build"',
    'numpy; extra == "build"',
    'no-such-windows; sys_platform == "no such system" and extra == "build"',
    'sam3port[build]; extra == "tune"',
    'no-such-tornado; extra == "tune"',
    'sam3port[tune]; extra == "all"',
    'sam3port[all]; extra == "build"',
]


@pytest.fixture(autouse=True)
def _metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: LINES if name == "sam3port" else None)


def test_requirements_by_extra() -> None:
    assert [str(asked) for asked in packages.requirements()] == ["numpy<3"]
    assert [asked.name for asked in packages.requirements("build")][:2] == ["no-such-torch", "numpy"]


def test_an_extra_has_those_that_it_names_even_in_a_circle() -> None:
    assert packages.missing("tune") == ["no-such-torch", "no-such-tornado"]
    assert set(packages.missing("all")) == {"no-such-torch", "no-such-tornado"}


def test_what_is_missing_is_named_with_its_remedy() -> None:
    with pytest.raises(UsageError, match=r"sam3port tune needs .*: no-such-torch, no-such-tornado") as caught:
        packages.require("tune", "sam3port tune")
    assert caught.value.remedy == "pip install 'sam3port[tune]'"
    packages.require("", "whatever runs")


def test_a_checkout_in_the_search_path_asks_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", requires)
    packages.require("build", "sam3port build")
    assert packages.requirements() == []
