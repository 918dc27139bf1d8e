"""Rotary position encoding of neighbouring pairs of features, between memory and a register.

RoFormer (Su et al. 2021, section 3.4.2), with the pairs of upstream's sam3/model/vitdet.py:68-90: a pair (a, b) and its
rotation (cos, sin) become (a cos - b sin, a sin + b cos).
"""

from __future__ import annotations

from collections.abc import Callable

from tvm import tirx

from sam3port.kernels.cpu.codegen import emit
from sam3port.kernels.cpu.codegen.emit import Expr, Value

Line = Callable[[Expr, int], Value]
"""``(feature, lanes) -> vector`` of neighbouring features of one row."""


def rotated(values: Line, rotations: Line, feature: Expr, lanes: int) -> Value:
    """`lanes` features of a row from `feature` on, rotated.

    Args:
        values: of the row.
        rotations: of the row's position, cos and sin of each pair in turn.
        feature: even where `lanes` are more than one.
        lanes: 1, or even.
    """
    if lanes == 1:
        # Nothing is computed ahead here: the caller may guard what is returned against reading where nothing is.
        side = feature % 2
        pair = feature - side
        cos, sin = rotations(pair, 1), rotations(pair + 1, 1)
        turned = tirx.Select(side == 0, -sin, sin)
        return values(feature, 1) * cos + values(pair + 1 - side, 1) * turned
    own, table = emit.bind(values(feature, lanes)), emit.bind(rotations(feature, lanes))
    cos = tirx.Shuffle([table], [lane & ~1 for lane in range(lanes)])
    # -sin in even places: of both vectors side by side, the negated one comes first.
    signed = [lane + 1 if lane % 2 == 0 else lanes + lane for lane in range(lanes)]
    sin = tirx.Shuffle([emit.bind(emit.constant(0.0, lanes) - table), table], signed)
    neighbour = tirx.Shuffle([own], [lane ^ 1 for lane in range(lanes)])
    return own * emit.bind(cos) + emit.bind(neighbour) * emit.bind(sin)
