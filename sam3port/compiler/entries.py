"""The functions of the linked module: which components each one runs, and how they are wired, by the tensors' names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sam3port.artifact.interface import TensorSpec
from sam3port.components.component import Component
from sam3port.errors import Sam3PortError

if TYPE_CHECKING:
    from sam3port.model.preset import Preset, Traits


@dataclass(frozen=True, slots=True)
class Join:
    """Tensors put together to one, as `sam3port.artifact.prompts.join` does it."""

    name: str
    """Of what comes out."""
    parts: tuple[str, ...]
    axis: int

    def joined(self, parts: Sequence[TensorSpec]) -> TensorSpec:
        """What comes out."""
        shape = list(parts[0].shape)
        shape[self.axis] = sum(part.shape[self.axis] for part in parts)
        return TensorSpec(self.name, tuple(shape), parts[0].dtype, ", then ".join(part.meaning for part in parts))


PROMPT: Final = (
    Join("prompt", ("text_features", "geometry_features"), 0),
    Join("prompt_mask", ("text_mask", "geometry_mask"), 1),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One function: ``name(*inputs, *weights of the first component, *weights of the second, ...) -> outputs``."""

    name: str
    inputs: tuple[str, ...]
    steps: tuple[str | Join, ...]
    """Components and joins in the order in which they run. Each takes its inputs by name from what is there."""
    outputs: tuple[str, ...] = ()
    """All that the last component returns, unless something is said here."""

    @property
    def components(self) -> tuple[str, ...]:
        """Those whose weights it takes, in this order."""
        return tuple(step for step in self.steps if isinstance(step, str))


_POINTS: Final = ("points", "point_labels", "point_mask")
_EXAMPLES: Final = (*_POINTS, "boxes", "box_labels", "box_mask")
_IMAGE: Final = ("features_0", "features_1", "features_2", "positions_2")
_TEXT: Final = ("text_features", "text_mask")
_GROUNDING: Final = (*PROMPT, "transformer_encoder", "transformer_decoder", "scoring_head", "segmentation_head")
_FOUND: Final = (
    *("pred_masks", "pred_boxes", "pred_boxes_xyxy", "pred_logits", "presence_logit", "scores"),
    "semantic_seg",
)

ENTRIES: Final = (
    Entry("encode_image", ("image",), ("image_encoder",)),
    Entry("encode_text", ("tokens",), ("text_encoder",), _TEXT),
    Entry("ground", (*_IMAGE, *_TEXT, *_EXAMPLES), ("geometry_encoder", *_GROUNDING), _FOUND),
    Entry(
        "click",
        (
            *("image_embedding", "high_res_0", "high_res_1"),
            *("clicks", "click_labels", "click_mask", "mask_input", "has_mask_input"),
        ),
        ("prompt_encoder", "mask_decoder"),
    ),
    # ``ground`` in two steps, so that what is shown in one picture is found in another.
    Entry("exemplar", ("features_2", "positions_2", *_EXAMPLES), ("geometry_encoder",)),
    Entry("ground_like", (*_IMAGE, *_TEXT, "geometry_features", "geometry_mask"), _GROUNDING, _FOUND),
)


def entries_for(traits: Traits) -> tuple[Entry, ...]:
    """Of `ENTRIES`, those of a model that has these traits, without what it has no weights for."""
    found = []
    for entry in ENTRIES:
        if not traits.points:
            entry = replace(entry, inputs=tuple(name for name in entry.inputs if name not in _POINTS))
        if not traits.clicks and entry.name == "encode_image":
            entry = replace(entry, steps=("vision_backbone",))
        if traits.clicks or entry.name != "click":
            found.append(entry)
    return tuple(found)


def linked_components(entries: tuple[Entry, ...] = ENTRIES) -> tuple[str, ...]:
    """The components that the entries run, each once."""
    return tuple(dict.fromkeys(name for entry in entries for name in entry.components))


@dataclass(frozen=True, slots=True)
class Interface:
    """What goes into an entry and what comes out."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def interface(entry: Entry, components: Mapping[str, Component], preset: Preset) -> Interface:
    """The tensors of ``entry``, from what its components declare.

    Args:
        entry: one of `ENTRIES`.
        components: those of all entries.
        preset: the sizes.

    Raises:
        Sam3PortError: two components mean different tensors by one name, or one reads what nobody gives.
    """
    # Also of the other entries: what one of them returns, another one takes.
    declared = {spec.name: spec for component in components.values() for spec in component.inputs(preset)}
    declared |= {spec.name: spec for component in components.values() for spec in component.outputs(preset)}
    there = {name: _found(entry, name, declared) for name in entry.inputs}
    produced: dict[str, TensorSpec] = {}
    for step in entry.steps:
        if isinstance(step, Join):
            produced |= {step.name: step.joined([there[part] for part in step.parts])}
        else:
            for spec in components[step].inputs(preset):
                _same(entry, step, spec, there.get(spec.name))
            produced = {spec.name: spec for spec in components[step].outputs(preset)}
        there |= produced
    outputs = entry.outputs or tuple(produced)
    return Interface(tuple(there[name] for name in entry.inputs), tuple(_found(entry, name, there) for name in outputs))


def _found(entry: Entry, name: str, specs: Mapping[str, TensorSpec]) -> TensorSpec:
    if name not in specs:
        raise Sam3PortError(f"{entry.name}: no component declares {name}", "correct sam3port/compiler/entries.py")
    return specs[name]


def _same(entry: Entry, component: str, wanted: TensorSpec, given: TensorSpec | None) -> None:
    if given is None:
        raise Sam3PortError(
            f"{entry.name}: {component} reads {wanted.name}, which nothing before it makes",
            "correct sam3port/compiler/entries.py",
        )
    if (given.shape, given.dtype) != (wanted.shape, wanted.dtype):
        raise Sam3PortError(
            f"{entry.name}: {component} reads {wanted.name} as {wanted.dtype}{list(wanted.shape)},"
            f" it is {given.dtype}{list(given.shape)}",
            "make the declarations of the components agree",
        )
