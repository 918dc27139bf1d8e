"""The distance transform against all pairs of pixels, and against upstream's own kernel, interpreted."""

from __future__ import annotations

import builtins
import types
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sam3port.replacements.distance_transform import NO_ZERO, euclidean_distance_transform


@st.composite
def masks(draw: st.DrawFn) -> torch.Tensor:
    batch, height, width = draw(st.integers(0, 3)), draw(st.integers(1, 7)), draw(st.integers(2, 7))
    odds = draw(st.sampled_from([0.0, 0.5, 0.9, 1.0]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    return torch.rand(batch, height, width, generator=generator) < odds


def all_pairs(mask: torch.Tensor) -> torch.Tensor:
    zeros = (~mask).nonzero().double()
    if len(zeros) == 0:
        return torch.full(mask.shape, NO_ZERO)
    return torch.cdist(torch.ones_like(mask).nonzero().double(), zeros).amin(1).reshape(mask.shape).float()


@settings(max_examples=150, deadline=None)
@given(masks())
def test_it_is_the_distance_to_the_nearest_zero(batch: torch.Tensor) -> None:
    distances = euclidean_distance_transform(batch)
    assert distances.shape == batch.shape and distances.dtype == torch.float32
    for mask, distance in zip(batch, distances, strict=True):
        torch.testing.assert_close(distance, all_pairs(mask), rtol=1e-6, atol=0)


class Pointer:
    """A triton pointer into a tensor."""

    def __init__(self, array: np.ndarray[Any, Any], offset: int = 0) -> None:
        self.array, self.offset = array, offset

    def __add__(self, step: int) -> Pointer:
        return Pointer(self.array, self.offset + int(step))


class OnCuda(torch.Tensor):
    """A CPU tensor that says it is on CUDA, for upstream's assertion."""

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True

    def sqrt(self) -> torch.Tensor:
        """Rounded correctly, as on CUDA; torch's float32 sqrt on CPU may be MKL's, which is one unit off at times."""
        return torch.Tensor.sqrt(self.double()).float()


@pytest.fixture(scope="module")
def upstream_kernel(upstream_root: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    """Upstream's `edt_triton`, its kernel's own text run by Python one program after the other, in float32."""
    place: list[int] = []

    class Kernel:
        def __init__(self, function: Callable[..., None]) -> None:
            self.function = function

        def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
            def launch(*tensors: Any, **constants: Any) -> None:
                arguments = [
                    Pointer(t.as_subclass(torch.Tensor).numpy().reshape(-1)) if isinstance(t, torch.Tensor) else t
                    for t in tensors
                ]
                for program in product(*map(range, grid)):
                    place[:] = program
                    self.function(*arguments, **constants)

            return launch

    def load(pointer: Pointer, mask: bool = True, other: float = 0) -> Any:
        if not mask:
            return other
        value = pointer.array[pointer.offset]
        # int32 with uint32, and float32 with either, stay what they are in triton; not so in numpy
        return int(value) if pointer.array.dtype == np.uint32 else value

    def store(pointer: Pointer, value: Any) -> None:
        pointer.array[pointer.offset] = value

    language = types.ModuleType("triton.language")
    vars(language).update(load=load, store=store, program_id=lambda axis: place[axis], constexpr=bool)
    triton = types.ModuleType("triton")
    vars(triton).update(jit=Kernel, language=language)

    def importer(name: str, *rest: Any) -> Any:
        fakes = {"triton": triton, "triton.language": triton}
        return fakes[name] if name in fakes and not rest[2] else builtins.__import__(name, *rest)

    names: dict[str, Any] = {"__builtins__": {**vars(builtins), "__import__": importer}}
    source = (upstream_root / "sam3/model/edt.py").read_text(encoding="utf-8")
    exec(compile(source, "edt.py", "exec"), names)

    def run(data: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = names["edt_triton"](data.as_subclass(OnCuda))
        return result.as_subclass(torch.Tensor)

    return run


def test_it_is_what_upstreams_kernel_gives(upstream_kernel: Callable[[torch.Tensor], torch.Tensor]) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(1, 1, 2), (2, 3, 2), (1, 7, 1 + 1), (3, 9, 14), (1, 24, 17)]
    for shape, odds in product(shapes, [0.0, 0.3, 0.8, 0.97, 1.0]):
        data = torch.rand(shape, generator=generator) < odds
        assert torch.equal(euclidean_distance_transform(data), upstream_kernel(data)), (shape, odds)


def test_an_image_without_zeros_beside_one_with_zeros(
    upstream_kernel: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    data = torch.ones(2, 4, 5, dtype=torch.bool)
    data[1, 2, 3] = False
    distances = euclidean_distance_transform(data)
    assert torch.equal(distances, upstream_kernel(data))
    assert (distances[0] == 1e9).all() and distances[1].max() == 13**0.5


@pytest.mark.parametrize("shape", [(0, 4, 5), (2, 0, 5), (2, 4, 0)])
def test_nothing_gives_nothing(shape: tuple[int, ...]) -> None:
    assert euclidean_distance_transform(torch.ones(shape, dtype=torch.bool)).shape == shape


def test_the_input_is_left_alone_and_need_not_be_contiguous() -> None:
    data = torch.rand(6, 5, 2) < 0.8
    before = data.clone()
    turned = euclidean_distance_transform(data.permute(2, 1, 0))
    assert torch.equal(turned, euclidean_distance_transform(data.permute(2, 1, 0).contiguous()))
    assert torch.equal(data, before)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(TypeError, match=r"bool tensor, not torch\.uint8"):
        euclidean_distance_transform(torch.ones(1, 2, 2, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"\(B, H, W\), not \(2, 2\)"):
        euclidean_distance_transform(torch.ones(2, 2, dtype=torch.bool))
