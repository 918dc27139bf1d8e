"""Attention stays one operator, so that a target can give it one kernel that never holds all scores in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sam3port.compiler.importing.converter import Converter, arguments, unsupported
from sam3port.compiler.importing.float32_regions import wants_float32

if TYPE_CHECKING:
    from torch import fx

_HEADS_INSIDE = [0, 2, 1, 3]
"""(batch, heads, sequence, channels) as PyTorch has it <-> (batch, sequence, heads, channels) as Relax has it."""

_LOWEST = -1e30
"""Added to a score that does not count."""


def _convert(node: fx.Node, importer: Any) -> Any:
    from tvm import relax, tirx

    emit = importer.block_builder.emit
    given = arguments(node, importer)
    query, key, value, mask = given["query"], given["key"], given["value"], given["attn_mask"]
    _check(node, given)
    everything = None
    if mask is not None:
        mask = _four_axes(mask, emit)
        if mask.ty.dtype == "bool":
            mask, everything = _additive(mask, query.ty.dtype, emit)
    scale = given["scale"]
    if wants_float32(node):
        attended = _spelled_out(query, key, value, mask, given, emit)
        return attended if everything is None else emit(relax.op.multiply(attended, everything))
    attended = emit(
        relax.op.nn.attention(
            *(emit(relax.op.permute_dims(tensor, _HEADS_INSIDE)) for tensor in (query, key, value)),
            bias=mask,
            scale=None if scale is None else tirx.FloatImm("float32", float(scale)),
            causal_mask="TopLeft" if given["is_causal"] else None,
        )
    )
    attended = emit(relax.op.permute_dims(attended, _HEADS_INSIDE))
    if everything is not None:
        attended = emit(relax.op.multiply(attended, everything))
    return attended


def _spelled_out(query: Any, key: Any, value: Any, mask: Any, given: dict[str, Any], emit: Any) -> Any:
    """As products that ask for float32 by their ``out_dtype``: Relax's attention has no word for it."""
    from tvm import relax

    queries, features = query.ty.shape.values[-2:]
    scale = int(features) ** -0.5 if given["scale"] is None else float(given["scale"])
    turned = emit(relax.op.permute_dims(key, [0, 1, 3, 2]))
    scores = emit(relax.op.multiply(emit(relax.op.matmul(query, turned, "float32")), relax.const(scale, "float32")))
    if given["is_causal"]:
        seen = emit(relax.op.tril(emit(relax.op.ones((queries, key.ty.shape.values[-2]), "float32"))))
        mask = emit(relax.op.where(emit(relax.op.astype(seen, "bool")), relax.const(0.0), relax.const(_LOWEST)))
    if mask is not None:
        scores = emit(relax.op.add(scores, mask))
    return emit(relax.op.matmul(emit(relax.op.nn.softmax(scores, -1)), value, "float32"))


def _check(node: fx.Node, given: dict[str, Any]) -> None:
    for name in ("query", "key", "value"):
        if given[name].ty.ndim != 4:
            raise unsupported(node, f"{name} has {given[name].ty.ndim} axes, not batch, heads, sequence, channels")
    if given["dropout_p"]:
        raise unsupported(node, f"dropout {given['dropout_p']}: export the module in eval mode")
    if given["enable_gqa"]:
        raise unsupported(node, "grouped queries")
    if given["is_causal"] and given["attn_mask"] is not None:
        raise unsupported(node, "a mask besides is_causal")


def _four_axes(mask: Any, emit: Any) -> Any:
    from tvm import relax

    missing = 4 - mask.ty.ndim
    return emit(relax.op.expand_dims(mask, list(range(missing)))) if missing else mask


def _additive(mask: Any, dtype: Any, emit: Any) -> tuple[Any, Any]:
    """What to add to the scores, and 1 for each query that may look at something, 0 for the others.

    PyTorch answers 0 to a query that may look at nothing. The number added is finite, so that such a query gives no
    NaN, which a multiplication by 0 could not take away.
    """
    from tvm import relax

    lowest = relax.const(_LOWEST, dtype)
    bias = emit(relax.op.where(mask, relax.const(0.0, dtype), lowest))
    some = emit(relax.op.max(emit(relax.op.astype(mask, dtype)), axis=-1, keepdims=True))
    return bias, some


CONVERTER = Converter(
    operator="scaled_dot_product_attention.default",
    reason="torch decomposes it and TVM would hold all scores in memory (16 x 5184 x 5184 in a global layer). TVM"
    " 0.27's own conversion ignores scale, refuses boolean masks and reads the axes in another order than PyTorch's",
    retire_when="TVM's importer takes boolean masks and scale, and PyTorch's order of axes",
    convert=_convert,
    keep_whole=True,
)
