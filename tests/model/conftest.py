"""A tiny model with seeded weights, built once; tests that change a model build their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

import sam3port
from sam3port.model.build import build_model
from sam3port.model.preset import preset
from sam3port.upstream.source import Upstream

if TYPE_CHECKING:
    from sam3.model.sam3_image import Sam3Image


@pytest.fixture(scope="session", autouse=True)
def installed(upstream_source: Upstream) -> Iterator[None]:
    """Upstream, patched, in this process."""
    assert upstream_source.pinned
    sam3port.install()
    yield


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The tiny model's operators are too small to share; threads that wait for each other take longer."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny(upstream_source: Upstream) -> Sam3Image:
    assert upstream_source.pinned
    return build_model(preset("tiny"), seed=0)
