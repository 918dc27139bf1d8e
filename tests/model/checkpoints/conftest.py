"""Each kind of file, written once from the tiny model; tests that change one write their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sam3port.model.build import build_model
from sam3port.model.checkpoints.errors import CheckpointError
from sam3port.model.checkpoints.survey import check, survey
from sam3port.model.preset import Traits, preset
from tests.model.checkpoints.writing import Tensors, huggingface_tensors, upstream_tensors, write_safetensors

Load = Callable[..., Any]


def load(path: Path, base: Path | None = None) -> Any:
    """The tiny model that a command would make of these files."""
    found = survey(path, base)
    check(found, path, "tiny")
    return build_model(preset("tiny", None, found.traits), checkpoint=path, base=base)


def refused(path: Path, match: str, base: Path | None = None) -> str:
    """The error that a user gets."""
    with pytest.raises(CheckpointError, match=match) as error:
        load(path, base)
    assert error.value.remedy, "says what to do"
    return str(error.value)


@pytest.fixture(scope="session")
def upstreams(tiny: Any) -> Tensors:
    return upstream_tensors(tiny)


@pytest.fixture(scope="session")
def huggingfaces(tiny: Any) -> Tensors:
    return huggingface_tensors(tiny)


@pytest.fixture(scope="session")
def huggingface_file(huggingfaces: Tensors, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_safetensors(tmp_path_factory.mktemp("huggingface") / "model.safetensors", huggingfaces)


@pytest.fixture(scope="session")
def three_levels() -> Any:
    """A model like SAM 3.1's, seeded."""
    return build_model(preset("tiny", None, Traits(fourth_level=False, iou_sigmoid=False)), seed=0)
