"""An exported program in the operators that are imported: core ATen, and what converters want to see whole."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sam3port.compiler.importing.float32_regions import dissolve
from sam3port.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

    from sam3port.compiler.importing.converter import Converter


def decompose(program: ExportedProgram, converters: Mapping[str, Converter]) -> ExportedProgram:
    """``program`` without what torch can express in simpler operators, except those that ``converters`` keep whole.

    Regions without autocast are dissolved in ``program`` itself.
    """
    import torch

    dissolve(program)
    table = torch.export.default_decompositions()
    for converter in converters.values():
        if converter.keep_whole:
            table.pop(overload(converter.operator), None)
    with warnings.catch_warnings():
        # torch 2.13 warns about its own use of pytree's LeafSpec.
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        decomposed: ExportedProgram = program.run_decompositions(table)
        return decomposed


def overload(name: str) -> torch._ops.OpOverload:
    """The operator ``linear.default``, or of another library ``torchvision::roi_align.default``.

    Raises:
        UsageError: torch has no such operator.
    """
    import torch

    library, _, rest = name.rpartition("::")
    operator, _, variant = rest.partition(".")
    try:
        found: torch._ops.OpOverload = getattr(getattr(getattr(torch.ops, library or "aten"), operator), variant)
    except (AttributeError, RuntimeError):
        raise UsageError(f"a converter is for {name}, which torch does not have") from None
    return found
