"""The tiny model with seeded weights, built once, and what the tests of all components need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

import sam3port
from sam3port.artifact.interface import Arrays, Capacity
from sam3port.components.component import Component
from sam3port.model.build import build_model
from sam3port.model.preset import Preset, preset
from sam3port.plugins import load_plugins
from sam3port.upstream.source import Upstream

if TYPE_CHECKING:
    from sam3.model.sam3_image import Sam3Image

COMPONENTS = load_plugins().components()
BATCHED = Capacity(prompts=3, points=3, boxes=4)
"""Another capacity than the usual one, with another number for everything."""


@pytest.fixture(scope="session")
def tiny(upstream_source: Upstream) -> Sam3Image:
    """Upstream, with all patches, in this process."""
    assert upstream_source.pinned
    sam3port.install()
    return build_model(preset("tiny"), seed=0)


@pytest.fixture(scope="session")
def sizes() -> Preset:
    return preset("tiny")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The tiny model's operators are too small to share; threads that wait for each other take longer."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Stage:
    """A component's module, called with named arrays and answering with them."""

    def __init__(self, component: Component, model: Any, sizes: Preset) -> None:
        self.component = component
        self.module = component.module(model, sizes).eval()
        self.inputs = [spec.name for spec in component.inputs(sizes)]
        self.outputs = [spec.name for spec in component.outputs(sizes)]

    def __call__(self, given: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Takes its inputs by name from ``given``, which may hold more."""
        return run(self.module, {name: given[name] for name in self.inputs}, self.outputs)


def run(module: Any, inputs: Arrays, outputs: list[str]) -> dict[str, NDArray[Any]]:
    import torch

    with torch.no_grad():
        results = module(*(torch.from_numpy(np.array(array)) for array in inputs.values()))
    assert isinstance(results, tuple)
    return {name: result.numpy() for name, result in zip(outputs, results, strict=True)}
