"""The stages of a build, their order and what each leaves."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from sam3port.errors import UsageError


class Stage(StrEnum):
    """One step on the way from upstream's source to a library."""

    EXPORT = "export"
    """torch.export of the component's module: ``exported.pt2``, graph and weights."""
    IMPORT = "import"
    """To Relax, weights as named inputs: ``relax.json``."""
    OPTIMISE = "optimise"
    """The target's pipeline: kernels, fusion, packing of weights: ``optimised.json``."""
    PACK = "pack"
    """The weights as the kernels want them: ``params.safetensors``."""
    KERNELS = "kernels"
    """Machine code of each kernel, ``kernels.tar``, and what calls them by name, ``calls.json``."""
    COMPILE = "compile"
    """All of it as one library: ``lib.so``."""

    @property
    def predecessor(self) -> Stage | None:
        """The stage whose files this one reads."""
        index = ORDER.index(self)
        return ORDER[index - 1] if index else None

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files that it leaves."""
        return FILES[self]

    def through(self) -> tuple[Stage, ...]:
        """All stages up to and including this one, in order."""
        return ORDER[: ORDER.index(self) + 1]


ORDER: Final = (Stage.EXPORT, Stage.IMPORT, Stage.OPTIMISE, Stage.PACK, Stage.KERNELS, Stage.COMPILE)

EXPORTED: Final = "exported.pt2"
RELAX: Final = "relax.json"
OPTIMISED: Final = "optimised.json"
CALLS: Final = "calls.json"
KERNELS: Final = "kernels.tar"
"""The kernels that can be compiled apart from each other: those of CPUs. The others are in `CALLS`."""
LIBRARY: Final = "lib.so"
OBJECTS: Final = "lib.tar"
"""In place of `LIBRARY`: object code for another machine's linker."""
MACHINE: Final = "machine.json"
"""Beside a library: a `sam3port.compiler.compiled_for.Machine`."""
PARAMETERS: Final = "params.safetensors"
RECORD: Final = "stage.json"

FILES: Final[dict[Stage, tuple[str, ...]]] = {
    Stage.EXPORT: (EXPORTED,),
    Stage.IMPORT: (RELAX,),
    Stage.OPTIMISE: (OPTIMISED,),
    Stage.PACK: (PARAMETERS,),
    Stage.KERNELS: (CALLS, KERNELS),
    Stage.COMPILE: (LIBRARY, MACHINE),
}
"""Cross builds leave `OBJECTS` in place of `LIBRARY`."""


def stage_named(name: str) -> Stage:
    """The stage of that name.

    Raises:
        UsageError: there is none; it lists them.
    """
    try:
        return Stage(name)
    except ValueError:
        raise UsageError(f"there is no stage named {name}", f"the stages are {', '.join(ORDER)}") from None
