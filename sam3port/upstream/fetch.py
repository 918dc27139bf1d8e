"""Fetches upstream's source: in a checkout of ours as the submodule, else into the user's cache."""

from __future__ import annotations

from collections.abc import Callable

from sam3port.upstream import places, registry, submodule


def fetch(report: Callable[[str], None]) -> None:
    """Make `source.locate` succeed, whole or not at all, safely beside other processes that do the same.

    Raises:
        UpstreamError: neither way worked; what to do is said.
    """
    if submodule.can_fetch(places.CHECKOUT) and submodule.fetch(places.CHECKOUT, report):
        return
    registry.fetch(report)
