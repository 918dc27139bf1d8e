"""Label Studio's brush, read by the description of its format."""

from __future__ import annotations

import numpy as np
import pytest

from sam3port.runtime.label_studio import brush_runs, rectangle


def decoded(content: list[int]) -> list[int]:
    """The values in a stream of rle-pack."""
    stream = iter("".join(f"{byte:08b}" for byte in content))

    def take(bits: int) -> int:
        return int("".join(next(stream) for _ in range(bits)), 2)

    count, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < count:
        alike, size = take(1), sizes[take(2)]
        length = take(size) + 1
        values += [take(word)] * length if alike else [take(word) for _ in range(length)]
    return values


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (150, 130)])
@pytest.mark.parametrize("part", [0, 0.01, 0.5, 1])
def test_a_brush_is_the_mask_in_four_channels(shape: tuple[int, int], part: float) -> None:
    mask = np.random.default_rng(0).random(shape) < part
    assert decoded(brush_runs(mask)) == np.repeat(255 * mask.reshape(-1), 4).tolist()


def test_a_rectangle_is_in_percents() -> None:
    value = rectangle([10, 5, 20, 25], "bus", 200, 50)["value"]
    assert value == {"x": 5, "y": 10, "width": 10, "height": 50, "rotation": 0, "rectanglelabels": ["bus"]}
