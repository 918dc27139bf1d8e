"""The tracker model behind the interactive predictor of an image model."""

from __future__ import annotations

from typing import Any

from sam3port.errors import UsageError


def tracker_of(model: Any) -> Any:
    """What answers clicks: ``model.inst_interactive_predictor.model`` (sam3/model/sam3_image.py:105).

    Raises:
        UsageError: the model was built without it.
    """
    predictor = model.inst_interactive_predictor
    if predictor is None:
        raise UsageError("the model has no interactive predictor", "build it with interactive=True")
    return predictor.model
