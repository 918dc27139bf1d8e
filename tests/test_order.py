"""The order that the suite runs in: what takes longest is named, and comes first."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import FIRST


@pytest.mark.parametrize("name", FIRST)
def test_a_slow_module_is_where_the_order_says(name: str) -> None:
    assert (Path(__file__).parent / f"{name}.py").is_file()


def test_they_come_first(request: pytest.FixtureRequest) -> None:
    """Of those that run at all."""
    root = Path(__file__).parent
    ran = list(dict.fromkeys(item.path.relative_to(root).with_suffix("").as_posix() for item in request.session.items))
    wanted = [name for name in FIRST if name in ran]
    assert ran[: len(wanted)] == wanted
