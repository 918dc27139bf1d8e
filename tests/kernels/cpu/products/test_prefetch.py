"""What the strips of a block ask for ahead: all of the next chunk, whichever way."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sam3port.kernels.cpu.products.blocked import Prefetch

LINE = 64
"""Bytes."""


@given(
    columns=st.integers(1, 8).map(lambda vectors: 16 * vectors),
    rounds=st.integers(1, 64),
    strips=st.integers(1, 40),
    element_bytes=st.sampled_from([2, 4]),
)
def test_all_lines_of_a_chunk_are_asked_for(columns: int, rounds: int, strips: int, element_bytes: int) -> None:
    unroll = 4
    ahead = Prefetch(columns, rounds * unroll, strips, element_bytes)
    asked: set[int] = set()

    def ask(step: Any, column: Any) -> None:
        asked.add((step * columns + column) * element_bytes // LINE)

    for strip in range(strips):
        in_round = ahead.interleaved(unroll, strip, ask)
        if in_round is None:
            assert ahead.lines < rounds, "few are asked for at once"
            return
        for number in range(rounds):
            in_round(number)
    size = columns * rounds * unroll * element_bytes
    assert asked >= set(range(-(-size // LINE)))
