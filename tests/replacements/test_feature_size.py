"""The decoder's feature size: upstream's tensors in eager mode, plain ints where a graph is traced."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from sam3port.errors import UsageError
from sam3port.replacements.feature_size import Size, feature_size

SEEN: list[Size] = []


class Reports(nn.Module):
    """Traced, it notes the size that it was given, where torch.export does not restore what tracing changed."""

    def __init__(self, stored: Size | None) -> None:
        super().__init__()
        self.stored = stored

    def forward(self, shapes: Tensor, memory: Tensor) -> Tensor:
        SEEN.append(feature_size(shapes, self.stored, memory.shape[0]))
        return memory + 1


def test_eager_gives_upstreams_tensors() -> None:
    shapes = torch.tensor([[3, 5]])
    height, width = feature_size(shapes, None, 15)
    assert isinstance(height, Tensor)
    assert isinstance(width, Tensor)
    assert (height.ndim, int(height), int(width)) == (0, 3, 5)
    assert feature_size(shapes, (9, 9), 15) == (3, 5), "the stored size means nothing outside torch.export"


@pytest.mark.parametrize("shapes", [((3, 5),), [[3, 5]], [torch.Size((3, 5))]])
def test_ints_are_taken_as_they_are(shapes: Sequence[Sequence[int]]) -> None:
    size = feature_size(shapes, (9, 9), 15)
    assert size == (3, 5)
    assert all(type(side) is int for side in size)


def test_ints_of_several_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="too many values"):
        feature_size(((3, 5), (2, 2)), None, 19)


def test_a_traced_tensor_has_the_size_that_the_decoder_was_built_for() -> None:
    SEEN.clear()
    torch.export.export(Reports((3, 5)), (torch.tensor([[3, 5]]), torch.zeros(15, 2)))
    assert SEEN
    assert set(SEEN) == {(3, 5)}


@pytest.mark.parametrize(("stored", "said"), [(None, "built for no size"), ((4, 5), "built for 4x5")])
def test_a_traced_tensor_of_another_size_is_an_error(stored: Size | None, said: str) -> None:
    with pytest.raises(UsageError, match=rf"memory has 15 tokens, and the decoder was {said}") as caught:
        torch.export.export(Reports(stored), (torch.tensor([[3, 5]]), torch.zeros(15, 2)))
    assert "plain ints" in caught.value.remedy
