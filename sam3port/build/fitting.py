"""A request made to fit the weights that it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sam3port.build.request import BuildRequest, known_components
from sam3port.compiler.entries import entries_for, linked_components
from sam3port.errors import UsageError
from sam3port.model import demo_weights

if TYPE_CHECKING:
    from sam3port.model.checkpoints.survey import Survey


def fitted(request: BuildRequest, named: Sequence[str] = ()) -> tuple[BuildRequest, list[str]]:
    """The request for the model that its checkpoint makes. One with a seed or the demo's weights stays as it is.

    Args:
        request: its components lose those for which the checkpoint has no weights.
        named: the components that the user asked for by name.

    Returns:
        It, and lines that say what the checkpoint is, what comes from its base and what is left out.

    Raises:
        CheckpointError: it is no checkpoint of SAM 3, or one of another preset, or parts are missing.
        UsageError: there are no weights for a component of ``named``.
    """
    if request.checkpoint is None:
        return request, []
    if (demo := demo_weights.about(request.checkpoint)) is not None:
        if demo["preset"] != request.preset:
            raise UsageError(
                f"{request.checkpoint} holds weights of the preset {demo['preset']}, not of {request.preset}",
                f"give --preset {demo['preset']}, or another checkpoint",
            )
        return request, [f"weights: those that come with sam3port; they know {demo_weights.KNOWN}"]
    from sam3port.model.checkpoints.survey import check, survey

    found = survey(request.checkpoint, request.base)
    check(found, request.checkpoint, request.preset)
    known = known_components(request.disable, request.components)
    kept = tuple(name for name, component in known.items() if found.traits.clicks or not component.clicks)
    if refused := [name for name in named if name not in kept]:
        raise UsageError(
            f"{request.checkpoint} has no weights for {', '.join(refused)}: it cannot answer clicks",
            "name others, or give a checkpoint that can as --base",
        )
    whole = linked_components()
    components = linked_components(entries_for(found.traits)) if request.components == whole else kept
    return replace(request, traits=found.traits, components=components), said(found, request)


def said(found: Survey, request: BuildRequest) -> list[str]:
    """What a user should know about the weights, a line each."""
    assert request.checkpoint is not None
    lines = [f"weights: {request.checkpoint.name}, {found.title}, {found.tensors} tensors, {found.dtype}"]
    if request.base is not None:
        lines.append(f"from {request.base.name}: {', '.join(found.from_base) or 'nothing'}")
    if not found.traits.points:
        lines.append("left out: points as examples, segment(points=...), for which there are no weights")
    if not found.traits.clicks:
        lines.append("left out: clicks, for which there are no weights")
    return [*lines, *found.notes]
