"""Optimise: the target's pipeline, and everything that depends on weights alone taken out of ``main``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sam3port.compiler.importing.program import PARAMETER_NAMES

if TYPE_CHECKING:
    from sam3port.targets.target import BuildTarget

TRANSFORM: Final = "main_transform_params"
"""The function that `sam3port.compiler.pack` runs once: weights as exported -> weights as ``main`` wants them."""


def optimise(module: Any, target: BuildTarget) -> Any:
    """``main`` as kernels of ``target``, and `TRANSFORM`, which packs its weights.

    Args:
        module: from `sam3port.compiler.importing.program.import_program`.
        target: its pipeline does the work. One that does not lift the weights' preparation itself has it lifted here.

    Returns:
        Its kernels have names that say what they are, as `sam3port.kernels.common.naming.name_of` makes them.
    """
    from tvm import relax

    from sam3port.kernels.common.naming import named_by_content

    module = target.optimise(module)
    if TRANSFORM not in {variable.name_hint for variable in module.get_global_vars()}:
        module = relax.transform.LiftTransformParams()(module)
    return named_by_content(module)


def parameter_names(module: Any) -> list[str]:
    """The names of the weights that ``module`` was imported with, in the order of its parameters."""
    return [str(name) for name in module["main"].attrs[PARAMETER_NAMES]]


def alone(module: Any, name: str) -> Any:
    """``module`` with the function ``name`` (``main`` or `TRANSFORM`) and what it needs; the other one goes."""
    import tvm
    from tvm import relax

    kept = tvm.IRModule(dict(module.functions_items()), attrs=module.attrs)
    for variable in kept.get_global_vars():
        if variable.name_hint in {"main", TRANSFORM} - {name}:
            del kept[variable]
    return relax.transform.DeadCodeElimination([name])(kept)
