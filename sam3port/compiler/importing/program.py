"""Import: from an exported program to a Relax module whose weights are named inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sam3port.compiler.errors import UnsupportedOperator
from sam3port.compiler.importing.decompose import decompose

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

    from sam3port.compiler.importing.converter import Converter

PARAMETER_NAMES: Final = "sam3port_parameters"
"""Attribute of ``main``: the names of its weights, in the order of its parameters after the inputs."""


@dataclass(frozen=True)
class Imported:
    """A Relax module and where its weights come from."""

    module: Any
    """``main(*inputs, *weights) -> tuple``; the attribute ``num_input`` says how many are inputs."""
    parameters: tuple[str, ...]
    """The names of the weights: parameters and buffers as in the state dict, constants as torch.export calls them."""


def import_program(program: ExportedProgram, converters: Mapping[str, Converter]) -> Imported:
    """Converts ``program`` to Relax. No weight is read: parameters, buffers and constants all become inputs.

    Weights that nothing uses are dropped.

    Raises:
        UnsupportedOperator: an operator is neither TVM's nor in ``converters``.
    """
    return import_decomposed(decompose(program, converters), converters)


def import_decomposed(program: ExportedProgram, converters: Mapping[str, Converter]) -> Imported:
    """`import_program` of what `decompose` returned, which is changed."""
    from tvm.relax.frontend.torch.exported_program_translator import from_exported_program

    names = _weights_as_inputs(program)
    _refuse_unknown(program, converters)
    module = from_exported_program(
        program,
        custom_convert_map={name.rpartition("::")[2]: made.convert for name, made in converters.items()},
        run_ep_decomposition=False,
    )
    return _inputs_first(module, names)


def weights(program: ExportedProgram) -> dict[str, torch.Tensor]:
    """The tensors that an exported program carries, by the names that `import_program` gives them."""
    found: dict[str, torch.Tensor] = dict(program.state_dict)
    for name, constant in program.constants.items():
        found.setdefault(name, constant)
    return found


def _weights_as_inputs(program: ExportedProgram) -> dict[str, str]:
    """Declares all that the program carries to be inputs; placeholder -> name in `weights`.

    TVM would bind buffers and constants into the module, and copy parameters beside it.
    """
    from torch.export.graph_signature import InputKind

    names = {}
    for spec in program.graph_signature.input_specs:
        if spec.kind is InputKind.USER_INPUT:
            continue
        names[spec.arg.name] = spec.target or spec.arg.name
        spec.kind, spec.target = InputKind.USER_INPUT, spec.arg.name
    # TVM 0.27 binds every constant of the program to whatever input it looked at last, once none is declared as one.
    program.constants.clear()
    return names


def _refuse_unknown(program: ExportedProgram, converters: Mapping[str, Converter]) -> None:
    """Names every operator that cannot be imported, at once (TVM's own message has them without where they stand)."""
    from tvm.relax.frontend.torch.exported_program_translator import ExportedProgramImporter

    known = set(ExportedProgramImporter().convert_map) | {name.rpartition("::")[2] for name in converters}
    unknown: dict[str, str] = {}
    for node in program.graph.nodes:
        if node.op == "call_function" and node.target.__name__ not in known:
            unknown.setdefault(str(node.target), origin(node))
    if unknown:
        listed = "; ".join(f"{operator} (first at {where})" for operator, where in sorted(unknown.items()))
        raise UnsupportedOperator(
            f"no conversion to Relax for {listed}",
            "write one (see sam3port/compiler/importing/converters) and deliver it with the hook sam3port_converters",
        )


def origin(node: torch.fx.Node) -> str:
    """The line of Python that made a node, or the node's name."""
    trace = (node.meta.get("stack_trace") or "").strip().splitlines()
    lines = [line.strip() for line in trace if line.strip().startswith("File ")]
    return lines[-1] if lines else node.name


def _inputs_first(module: Any, names: Mapping[str, str]) -> Imported:
    """The function's parameters in the order inputs, weights; weights that nothing uses are left out."""
    from tvm import relax

    main = module["main"]
    used = {variable.name for variable in relax.analysis.free_vars(main.body)}
    inputs = [variable for variable in main.params if variable.name not in names]
    kept = [variable for variable in main.params if variable.name in names and variable.name in used]
    parameters = tuple(names[variable.name] for variable in kept)
    ordered = relax.Function([*inputs, *kept], main.body, main.ret_ty, main.is_pure, main.attrs)
    ordered = ordered.with_attr("num_input", len(inputs)).with_attr(PARAMETER_NAMES, list(parameters))
    module.update_func(module.get_global_var("main"), ordered)
    return Imported(module, parameters)
