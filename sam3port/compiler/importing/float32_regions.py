"""What upstream wants computed in float32 whatever autocast says: ``torch.autocast(..., enabled=False)`` around it.

torch.export keeps such a region as a subgraph, and decomposing the program dissolves it. Before that it is dissolved
here, and its operators are marked; converters of products hand the mark on as ``out_dtype`` (`product_dtype`), which
says nothing new in a float32 build and keeps a bfloat16 build from rounding.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from torch import fx
    from torch.export import ExportedProgram

_REGION: Final = "wrap_with_autocast"
_MARK: Final = "sam3port_float32"
_ENABLED: Final = 2
_SUBGRAPH: Final = 4
"""Arguments: device, dtype, enabled, cache_enabled, the subgraph, and what goes into it."""


def dissolve(program: ExportedProgram) -> None:
    """Puts the operators of every region that switches autocast off in place of the region, each with the mark."""
    graph = program.graph_module.graph
    regions = [
        node
        for node in graph.nodes
        if node.op == "call_function" and getattr(node.target, "__name__", "") == _REGION and not node.args[_ENABLED]
    ]
    for region in regions:
        _inline(program.graph_module, region)
    if regions:
        graph.lint()
        program.graph_module.recompile()


def wants_float32(node: fx.Node) -> bool:
    """Whether a node stood in such a region."""
    return bool((node.meta.get("custom") or {}).get(_MARK))


def product_dtype(node: fx.Node) -> str | None:
    """``out_dtype`` of the Relax product that a node becomes."""
    return "float32" if wants_float32(node) else None


def _inline(module: fx.GraphModule, region: fx.Node) -> None:
    subgraph: Any = region.args[_SUBGRAPH]
    inner: Any = module.get_submodule(subgraph.target)
    given = iter(region.args[_SUBGRAPH + 1 :])
    known: dict[fx.Node, Any] = {}
    results: Any = None
    with module.graph.inserting_before(region):
        for node in inner.graph.nodes:
            if node.op == "placeholder":
                known[node] = next(given)
            elif node.op == "output":
                results = node.args[0]
            else:
                copy = module.graph.node_copy(node, lambda own: known[own])
                # Of all that a node may carry, torch takes this along when it decomposes the program.
                copy.meta["custom"] = {**(node.meta.get("custom") or {}), _MARK: True}
                known[node] = copy
    for user in list(region.users):
        assert user.target is operator.getitem, f"{user} takes a region's results as a whole"
        user.replace_all_uses_with(known[results[user.args[1]]])
        module.graph.erase_node(user)
    module.graph.erase_node(region)
