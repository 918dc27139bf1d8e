"""Upstream's own names, as in ``sam3.pt``."""

from __future__ import annotations

from typing import Final

from sam3port.model.checkpoints.layout import Layout
from sam3port.model.checkpoints.parts import CLICKS
from sam3port.model.checkpoints.recipes import Recipe

UPSTREAM: Final = Layout("SAM 3 with upstream's names", recipe=lambda name: Recipe((name,)), clicks=CLICKS.prefixes)
