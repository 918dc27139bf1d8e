"""Proves the import operator by operator: each one that an exported program uses, alone, in TVM against PyTorch.

That an import succeeds says nothing (TVM 0.27 imports grid_sample and samples elsewhere). So every different call in a
program (operator, shapes, dtypes, arguments) is taken out with the tensors that really arrive there, imported by
itself, compiled and run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from sam3port.artifact.interface import Arrays
from sam3port.compiler.importing.decompose import decompose
from sam3port.compiler.importing.program import import_decomposed, origin, weights

if TYPE_CHECKING:
    import torch
    from torch import fx
    from torch.export import ExportedProgram

    from sam3port.compiler.importing.converter import Converter
    from sam3port.targets.target import BuildTarget

RTOL: Final = 1e-4
"""Of an element, and a tenth of it of the largest element: room for another order of summation, for nothing else."""


_NOTHING_TO_COMPARE: Final = {
    "aten._assert_scalar.default",
    "aten._assert_tensor_metadata.default",
    "aten.empty.memory_format",
    "aten.empty_like.default",
    "aten.empty_permuted.default",
}
"""Operators without a result, or with one that is whatever was in memory."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an operator with what arrived there and what came out."""

    operator: str
    """``aten.linear.default``"""
    node: fx.Node
    tensors: tuple[torch.Tensor, ...]
    """The tensors among its arguments, each once."""
    results: tuple[torch.Tensor, ...]
    """What is used of what it returns."""

    @property
    def where(self) -> str:
        """The first place in upstream's source that makes this call."""
        return origin(self.node)


@dataclass(frozen=True, slots=True)
class Finding:
    """How far TVM was from PyTorch in one call."""

    call: Call
    error: float
    """The largest of all elements' errors, relative to the tolerance: above 1 it is wrong."""
    detail: str = ""

    @property
    def ok(self) -> bool:
        return self.error <= 1


def operators_of(program: ExportedProgram, converters: Mapping[str, Converter]) -> dict[str, int]:
    """The operators that are imported for ``program``, with the number of their calls."""
    counts: dict[str, int] = {}
    for node in decompose(program, converters).graph.nodes:
        if _is_operator(node):
            counts[str(node.target)] = counts.get(str(node.target), 0) + 1
    return dict(sorted(counts.items()))


def check(
    program: ExportedProgram,
    inputs: Arrays,
    converters: Mapping[str, Converter],
    target: BuildTarget | None = None,
    known: set[str] | None = None,
    only: Collection[str] | None = None,
) -> list[Finding]:
    """Imports, compiles and runs every different call in ``program`` by itself.

    Args:
        program: as exported.
        inputs: what to run it on; every call is checked on the tensors that arrive there.
        converters: as for the import.
        target: also checks its kernels; None for TVM's plain ones on this CPU.
        known: calls that were checked before and need not be again; those checked now are added.
        only: these operators (``aten.linear.default``); None for all.
    """
    import tvm
    from tvm import relax

    calls = list(_calls(decompose(program, converters), inputs, set() if known is None else known, only))
    if not calls:
        return []
    merged = tvm.IRModule()
    for index, call in enumerate(calls):
        module = import_decomposed(_alone(call), converters).module
        merged[f"call_{index}"] = module["main"].with_attr("global_symbol", f"call_{index}").without_attr("num_input")
    executable = tvm.compile(
        _optimised(merged, target), target=target.target() if target else tvm.target.Target("llvm")
    )
    machine = relax.VirtualMachine(executable, tvm.cpu())
    return [_compare(call, machine[f"call_{index}"]) for index, call in enumerate(calls)]


def _optimised(module: Any, target: BuildTarget | None) -> Any:
    import tvm
    from tvm import relax

    if target is not None:
        return target.optimise(module)
    with tvm.target.Target("llvm"):
        return relax.get_pipeline("zero")(module)


def _is_operator(node: fx.Node) -> bool:
    import torch

    return isinstance(node.target, torch._ops.OpOverload) and str(node.target) not in _NOTHING_TO_COMPARE


def _calls(program: ExportedProgram, inputs: Arrays, seen: set[str], only: Collection[str] | None) -> Iterator[Call]:
    """Runs a decomposed program node by node in PyTorch; the calls that are not like one in ``seen``."""
    import torch

    carried = weights(program)
    user = iter(inputs.values())
    values: dict[fx.Node, Any] = {}
    specs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
    last_use = _last_uses(program)
    for node in program.graph.nodes:
        if node.op == "placeholder":
            target = specs[node.name].target
            values[node] = torch.from_numpy(next(user).copy()) if target is None else carried[target].detach()
        elif node.op == "call_function":
            arguments = _map_nodes(node.args, values), _map_nodes(node.kwargs, values)
            with torch.no_grad():
                values[node] = node.target(*arguments[0], **arguments[1])
            wanted = _is_operator(node) and (only is None or str(node.target) in only)
            if wanted and (signature := _signature(node, values)) not in seen:
                seen.add(signature)
                yield Call(str(node.target), node, _tensors(node, values), _used_results(node, values[node]))
        for dead in last_use.get(node, ()):
            values.pop(dead, None)


def _last_uses(program: ExportedProgram) -> dict[fx.Node, list[fx.Node]]:
    """For each node, the values that nobody reads after it."""
    last: dict[fx.Node, fx.Node] = {}
    for node in program.graph.nodes:
        for read in node.all_input_nodes:
            last[read] = node
    dead: dict[fx.Node, list[fx.Node]] = {}
    for read, reader in last.items():
        dead.setdefault(reader, []).append(read)
    return dead


def _map_nodes(arguments: Any, values: Mapping[fx.Node, Any]) -> Any:
    from torch.fx.node import map_arg

    return map_arg(arguments, lambda node: values[node])


def _tensors(node: fx.Node, values: Mapping[fx.Node, Any]) -> tuple[torch.Tensor, ...]:
    # Cloned: a later operator may write into a view of it.
    return tuple(values[read].clone() for read in node.all_input_nodes)


def _signature(node: fx.Node, values: Mapping[fx.Node, Any]) -> str:
    """Equal for calls that are imported alike: operator, arguments, and shape and dtype instead of each tensor."""
    shown = {read: f"{values[read].dtype}{list(values[read].shape)}" for read in node.all_input_nodes}
    return f"{node.target} {_map_nodes(node.args, shown)} {_map_nodes(node.kwargs, shown)} {_used_outputs(node)}"


def _used_outputs(node: fx.Node) -> list[int] | None:
    """Which of several results are used, None for an operator with one result."""
    import operator

    if not isinstance(node.meta["val"], (tuple, list)):
        return None
    return sorted({int(user.args[1]) for user in node.users if user.target is operator.getitem})  # type: ignore[arg-type]


def _used_results(node: fx.Node, value: Any) -> tuple[torch.Tensor, ...]:
    used = _used_outputs(node)
    return (value.clone(),) if used is None else tuple(value[index].clone() for index in used)


def _alone(call: Call) -> ExportedProgram:
    """A program of this one call, with all its tensors as inputs."""
    import operator

    import torch
    from torch.export.exported_program import ModuleCallEntry, ModuleCallSignature
    from torch.export.graph_signature import (
        ExportGraphSignature,
        InputKind,
        InputSpec,
        OutputKind,
        OutputSpec,
        TensorArgument,
    )
    from torch.utils._pytree import tree_structure

    graph = torch.fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    for index, read in enumerate(call.node.all_input_nodes):
        copied[read] = graph.placeholder(f"tensor_{index}")
        copied[read].meta["val"] = read.meta["val"]
    node = graph.node_copy(call.node, lambda read: copied[read])
    used = _used_outputs(call.node)
    results = [node]
    if used is not None:
        results = []
        for index in used:
            results.append(graph.call_function(operator.getitem, (node, index)))
            results[-1].meta["val"] = node.meta["val"][index]
    graph.output(tuple(results))
    signature = ExportGraphSignature(
        [InputSpec(InputKind.USER_INPUT, TensorArgument(node.name), None) for node in copied.values()],
        [OutputSpec(OutputKind.USER_OUTPUT, TensorArgument(result.name), None) for result in results],
    )
    arguments = tree_structure(((0,) * len(copied), {}))
    returned = tree_structure((0,) * len(results))
    entry = ModuleCallEntry("", ModuleCallSignature([], [], arguments, returned))
    return torch.export.ExportedProgram(torch.nn.Module(), graph, signature, {}, {}, [entry])


def _compare(call: Call, run: Any) -> Finding:
    import tvm

    results = run(*(tvm.runtime.tensor(np.asarray(tensor.numpy(), order="C")) for tensor in call.tensors))
    worst, detail = 0.0, ""
    for index, (expected, found) in enumerate(zip(call.results, _as_list(results), strict=True)):
        error, said = _error(expected.numpy(), found.numpy())
        if error > worst or not detail:
            worst, detail = error, f"result {index}: {said}"
    return Finding(call, worst, detail)


def _as_list(results: Any) -> Sequence[Any]:
    return results if hasattr(results, "__len__") and not hasattr(results, "numpy") else [results]


def _error(expected: NDArray[Any], found: NDArray[Any]) -> tuple[float, str]:
    if expected.shape != found.shape or expected.dtype != found.dtype:
        return float("inf"), f"{found.dtype}{list(found.shape)} instead of {expected.dtype}{list(expected.shape)}"
    if expected.size == 0:
        return 0.0, "empty"
    if expected.dtype.kind in "biu":
        different = int((expected != found).sum())
        return (float("inf") if different else 0.0), f"{different} of {expected.size} elements differ"
    same = (expected == found) | (np.isnan(expected) & np.isnan(found))
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.where(same, 0.0, np.abs(expected.astype(np.float64) - found.astype(np.float64)))
    finite = np.abs(expected[np.isfinite(expected)])
    allowed = RTOL * np.where(np.isfinite(expected), np.abs(expected), 0.0) + RTOL / 10 * (
        finite.max() if finite.size else 1
    )
    allowed = np.maximum(allowed, np.finfo(np.float32).tiny)
    relative = np.where(np.isfinite(difference), difference, np.inf) / allowed
    at = np.unravel_index(int(np.argmax(relative)), relative.shape)
    where = ", ".join(str(int(i)) for i in at)
    return float(relative[at]), f"{found[at]:.9g} instead of {expected[at]:.9g} at [{where}]"
