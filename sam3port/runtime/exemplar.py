"""What was shown in one picture, to be found in others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sam3port.errors import UsageError

if TYPE_CHECKING:
    from sam3port.runtime.engine import Handles
    from sam3port.runtime.model import Model


@dataclass(frozen=True, eq=False)
class Exemplar:
    """Boxes and points of a picture as the model sees them: tokens of a prompt.

    They hold what is inside the boxes and around them, and also where that was. SAM 3 was trained with examples in the
    very picture that it searches: in others, things at another place or of another size may be found less surely.
    """

    model: Model
    """The opened artifact that made it; no other one understands it."""
    tokens: Handles
    """``geometry_features`` and ``geometry_mask``, on the device."""

    def check(self, model: Model) -> None:
        """Raises UsageError unless it was made by ``model``."""
        if self.model is not model:
            raise UsageError("the exemplar was made by another model", "make it with the model that is asked")
