"""How the operands of a product lie in memory, by what they are computed in and what the target has for it.

- float32: every number as it is.
- bfloat16 where an instruction multiplies pairs of them (`VectorUnit.pairs`): two steps of K are one uint32, a *word*,
  in the weight as in the activations; the loops count words.
- bfloat16 elsewhere: a weight is uint16, and a chunk of it becomes float32 in the nearest cache; activations are
  rounded to bfloat16 and lie there as float32, too. So products are the same as with the instruction, and sums differ
  in their order only.
- bfloat16 for few rows (`VectorUnit.for_rows`): the same, and activations are not rounded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import tirx

from sam3port.kernels.cpu.codegen import emit
from sam3port.kernels.cpu.codegen.emit import Dim, Expr
from sam3port.kernels.cpu.formats import bfloat16
from sam3port.kernels.cpu.formats.vector_unit import VectorUnit

Element = Callable[[Expr], Expr]
"""``k -> `` the float32 (or vector of them, along another axis) at step k."""


def instructions(unit: VectorUnit, *others: int) -> contextlib.AbstractContextManager[None]:
    """Within it, vectors of up to `unit.lanes` words can be made, or as many as `others` say; one word anywhere."""
    if not unit.pairs:
        return contextlib.nullcontext()
    return bfloat16.imported([*(1 << power for power in range(1, unit.lanes.bit_length())), *others])


def words(depth: Dim, unit: VectorUnit) -> Dim:
    """How many words `depth` steps are."""
    return emit.ceildiv(depth, 2) if unit.pairs else depth


def weight_dtype(unit: VectorUnit) -> str:
    """Of packed weights."""
    return "uint32" if unit.pairs else "uint16" if unit.widens else "float32"


def word_dtype(unit: VectorUnit) -> str:
    """Of words in the cache."""
    return "uint32" if unit.pairs else "float32"


def no_word(unit: VectorUnit, lanes: int = 1) -> Expr:
    """The word of zeros."""
    return emit.broadcast(tirx.IntImm("uint32", 0), lanes) if unit.pairs else emit.constant(0.0, lanes)


def weight_word(unit: VectorUnit, depth: int, word: Expr, element: Element) -> Expr:
    """One word of a packed weight."""
    if unit.widens:
        return bfloat16.narrow(element(word))
    return _pair(depth, word, element, 1) if unit.pairs else element(word)


def word(unit: VectorUnit, depth: Dim, at: Expr, element: Element, lanes: int = 1) -> Expr:
    """One word of activations, or `lanes` of them side by side along another axis than K."""
    if unit.widens and unit.rounds:
        return bfloat16.rounded(element(at), lanes)
    return _pair(depth, at, element, lanes) if unit.pairs else element(at)


def words_along(unit: VectorUnit, at: Expr, load: Callable[[Expr, int], Expr], lanes: int) -> Expr:
    """`lanes` words of activations along K, none of them half a pair.

    Args:
        load: ``(k, lanes) -> `` neighbours along K, float32.
    """
    if unit.pairs:
        if lanes == 1:
            return bfloat16.pair(load(2 * at, 1), load(2 * at + 1, 1))
        return bfloat16.pairs_along(load(2 * at, 2 * lanes), lanes)
    return bfloat16.rounded(load(at, lanes), lanes) if unit.widens and unit.rounds else load(at, lanes)


def packed_weight(unit: VectorUnit) -> str:
    """How weights are kept, in words for people."""
    if unit.pairs:
        return "weight packed as pairs of bfloat16"
    if not unit.widens:
        return "weight packed"
    return f"weight packed as bfloat16, made float32 in chunks{'' if unit.rounds else ' for rows in float32'}"


def host_words(array: npt.NDArray[np.float32], axis: int, unit: VectorUnit) -> npt.NDArray[Any]:
    """A weight as words along `axis` (K), on the host; as `weight_word`."""
    if unit.pairs:
        return bfloat16.paired(array, axis)
    return bfloat16.narrowed(array) if unit.widens else array


def _pair(depth: Dim, at: Expr, element: Element, lanes: int) -> Expr:
    even = isinstance(depth, int) and depth % 2 == 0
    # Beyond an odd depth: any element that is there, and zero made of it.
    second = 2 * at + 1 if even else tirx.min(2 * at + 1, depth - 1)
    low, high = element(2 * at), element(second)
    word = bfloat16.pair(low, high) if lanes == 1 else bfloat16.pairs_beside(low, high, lanes)
    if even:
        return word
    there = tirx.Select(2 * at + 1 < depth, tirx.IntImm("uint32", 0xFFFFFFFF), tirx.IntImm("uint32", 0xFFFF))
    return tirx.bitwise_and(word, emit.broadcast(there, lanes))
