"""Whose names a file's tensors have."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sam3port.model.checkpoints import names_huggingface as huggingface
from sam3port.model.checkpoints.content import Content, Stored
from sam3port.model.checkpoints.errors import GET, CheckpointError, listed
from sam3port.model.checkpoints.layout import Layout
from sam3port.model.checkpoints.names_huggingface import HUGGINGFACE
from sam3port.model.checkpoints.names_multiplex import MARK, MULTIPLEX
from sam3port.model.checkpoints.names_upstream import UPSTREAM
from sam3port.model.checkpoints.parts import CLICKS, DETECTOR, TRACKER, Part, in_checkpoint
from sam3port.model.checkpoints.recipes import Recipe

if TYPE_CHECKING:
    from torch import Tensor

_WRAPPERS: Final = ("module.", "_orig_mod.", "model.")
"""What data parallelism, torch.compile and trainers put ahead of every name."""
_BARE: Final = (
    "backbone.vision_backbone.",
    "backbone.language_backbone.",
    "transformer.encoder.",
    "transformer.decoder.",
)
"""What names of upstream's image model start with by itself, as its trainer saves it."""
_LORA: Final = re.compile(r"(^|[._])(lora|loha|lokr|hada|oft)_|lora_embedding|[._]lora\.|base_layer\.")
_OTHERS: Final = (
    ("image_encoder.trunk.", "SAM 2"),
    ("image_encoder.patch_embed.", "SAM, the first one"),
    ("vision_encoder.patch_embed.", "SAM, the first one, in Hugging Face's format"),
)


@dataclass(frozen=True)
class Checkpoint:
    """A file whose names are known."""

    content: Content
    layout: Layout
    names: Mapping[str, str]
    """The file's name of each tensor, by the layout's."""

    @property
    def path(self) -> Path:
        return self.content.path

    def stored(self, name: str) -> Stored:
        """The tensor that has this name in the layout."""
        return self.content.stored[self.names[name]]

    def read(self, name: str) -> Tensor:
        """The tensor that has this name in the layout."""
        return self.content.read(self.names[name])

    def has(self, part: Part) -> bool:
        """Whether a part of the model is there; if it is for clicks, whether anything of it is."""
        if part is CLICKS:
            return any(name.startswith(self.layout.clicks) for name in self.names)
        return self.find(part.probe) is not None

    def find(self, key: str) -> Recipe | None:
        """What the tensor with this name in upstream's checkpoint is made of; None where it is not all there."""
        recipe = self.layout.recipe(key)
        return recipe if recipe and all(name in self.names for name in recipe.names) else None


def recognise(content: Content) -> Checkpoint:
    """Finds out whose names a file has.

    Raises:
        CheckpointError: it is of another model, or holds adapters that have to be merged first.
    """
    path, names = content.path, {name: name for name in content.stored}
    if not names:
        raise CheckpointError(f"{path} is of another model: it holds nothing at all", GET)
    while wrapper := next((each for each in _WRAPPERS if all(name.startswith(each) for name in names)), None):
        names = {name.removeprefix(wrapper): original for name, original in names.items()}
    _refuse_adapters(path, names)
    if _any(names, (huggingface.DETECTOR, huggingface.TRACKER, huggingface.NECK)):
        return _huggingface(content, _renamed(path, names, _single_prefix))
    if _any(names, (MARK,)):
        return Checkpoint(content, MULTIPLEX, names)
    if _any(names, (DETECTOR, TRACKER)):
        return Checkpoint(content, UPSTREAM, names)
    if _any(names, _BARE):
        return Checkpoint(content, UPSTREAM, _renamed(path, names, in_checkpoint))
    if _any(names, ("detr_decoder.",)):
        return _huggingface(content, _renamed(path, names, lambda name: huggingface.DETECTOR + name))
    raise CheckpointError(f"{path} is of another model: {_what(names)}", GET)


def _huggingface(content: Content, names: Mapping[str, str]) -> Checkpoint:
    if _any(names, (huggingface.TEXT,)) and not _any(names, (f"{huggingface.TEXT}text_model.",)):
        raise CheckpointError(
            f"{content.path} is of another model: its text encoder is not SAM 3's, perhaps SAM3-LiteText's", GET
        )
    return Checkpoint(content, HUGGINGFACE, names)


def _any(names: Iterable[str], starts: tuple[str, ...]) -> bool:
    return any(name.startswith(starts) for name in names)


def _single_prefix(name: str) -> str:
    """transformers 5.24 doubles prefixes when it saves a model of several; its own loader hides that."""
    own = (huggingface.DETECTOR, huggingface.TRACKER, huggingface.NECK)
    while name.startswith(own) and (rest := name.partition(".")[2]).startswith(own):
        name = rest
    return name


def _renamed(path: Path, names: Mapping[str, str], rename: Callable[[str], str]) -> dict[str, str]:
    renamed = {rename(name): original for name, original in names.items()}
    if len(renamed) < len(names):
        twice = sorted(names[name] for name in names if renamed[rename(name)] != names[name])
        raise CheckpointError(f"{path} has tensors twice, under two names" + listed("of them", twice), GET)
    return renamed


def _refuse_adapters(path: Path, names: Mapping[str, str]) -> None:
    adapters = [name for name in names if _LORA.search(name)]
    if not adapters:
        return
    merge = "merge them into the model they were trained for (in peft: merge_and_unload()), and give what that saves"
    if len(adapters) == len(names):
        raise CheckpointError(f"{path} holds LoRA adapters alone, not a model: " + ", ".join(adapters[:3]), merge)
    raise CheckpointError(f"{path} holds LoRA adapters beside the weights" + listed("of them", adapters), merge)


def _what(names: Mapping[str, str]) -> str:
    for start, model in _OTHERS:
        if _any(names, (start,)):
            return f"it is {model}"
    if _any(names, ("prompt_encoder.", "memory_attention.")):
        return "it is a tracker alone, without the detector"
    some = ", ".join(list(names)[:3])
    return f"none of its {len(names)} names is one of SAM 3's (it has {some})"
