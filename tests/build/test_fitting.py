"""What is built from a checkpoint that has not everything: the artifact does without, and says so."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage.data import astronaut

import sam3port
from sam3port.artifact.interface import Capacity
from sam3port.build.fitting import fitted
from sam3port.build.request import BuildRequest, known_components
from sam3port.compiler.entries import ENTRIES, entries_for, interface, linked_components
from sam3port.errors import UsageError
from sam3port.model.build import build_model
from sam3port.model.checkpoints.errors import CheckpointError
from sam3port.model.preset import Traits, preset
from tests.conftest import clean_environment
from tests.model.checkpoints.writing import (
    detector_tensors,
    huggingface_tensors,
    upstream_tensors,
    write_safetensors,
    write_torch,
)

WHOLE = BuildRequest(components=linked_components(), seed=None)


@pytest.fixture(scope="module")
def files(upstream_source: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    assert upstream_source.pinned
    folder = tmp_path_factory.mktemp("checkpoints")
    model = build_model(preset("tiny"), seed=0)
    (folder / "detector").mkdir()
    write_safetensors(folder / "detector" / "model.safetensors", detector_tensors(model))
    return {
        "sam3.pt": write_torch(folder / "sam3.pt", upstream_tensors(model)),
        "model.safetensors": write_safetensors(folder / "model.safetensors", huggingface_tensors(model)),
        "detector": folder / "detector",
    }


def test_a_whole_checkpoint_changes_nothing(files: dict[str, Path]) -> None:
    request = replace(WHOLE, checkpoint=files["sam3.pt"])
    found, lines = fitted(request)
    assert found == request
    assert len(lines) == 1
    assert "SAM 3 with upstream's names" in lines[0]
    assert fitted(BuildRequest(components=("text_encoder",)))[1] == []


def test_without_points(files: dict[str, Path]) -> None:
    found, lines = fitted(replace(WHOLE, checkpoint=files["model.safetensors"]))
    assert (found.traits, found.components) == (Traits(points=False), WHOLE.components)
    assert "left out: points as examples" in "\n".join(lines)
    again = BuildRequest.from_json(json.loads(json.dumps(found.as_json())))
    assert again.traits == found.traits
    assert again.sizes() == preset("tiny", None, Traits(points=False))
    with_base, lines = fitted(replace(WHOLE, checkpoint=files["model.safetensors"], base=files["sam3.pt"]))
    assert with_base.traits == Traits()
    assert "from sam3.pt: points as examples" in lines


def test_without_clicks(files: dict[str, Path]) -> None:
    request = replace(WHOLE, checkpoint=files["detector"])
    found, _ = fitted(request)
    assert "image_encoder" not in found.components
    assert "vision_backbone" in found.components
    every = replace(request, components=tuple(known_components()))
    assert not {"mask_decoder", "prompt_encoder", "image_encoder"} & set(fitted(every)[0].components)
    with pytest.raises(UsageError, match=r"has no weights for mask_decoder: it cannot answer clicks"):
        fitted(replace(request, components=("mask_decoder",)), ("mask_decoder",))


def test_another_presets_checkpoint(files: dict[str, Path]) -> None:
    with pytest.raises(CheckpointError, match="has the sizes of the preset tiny, not of full"):
        fitted(replace(WHOLE, preset="full", checkpoint=files["sam3.pt"]))


@pytest.mark.parametrize("traits", [Traits(points=False), Traits(clicks=False), Traits(fourth_level=False)])
@pytest.mark.parametrize("sizes", ["tiny", "full"])
def test_every_entry_fits_together(traits: Traits, sizes: str) -> None:
    chosen = preset(sizes, None, traits)
    entries = entries_for(traits)
    components = {name: each(Capacity()) for name, each in known_components((), linked_components(entries)).items()}
    found = {entry.name: interface(entry, components, chosen) for entry in entries}
    assert ("click" in found) == traits.clicks
    assert any(spec.name == "points" for spec in found["ground"].inputs) == traits.points
    assert any(spec.name == "features_3" for spec in found["encode_image"].outputs) == traits.fourth_level
    assert entries_for(Traits()) == ENTRIES


@pytest.fixture(scope="module")
def artifact(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Of a detector alone, in Hugging Face's folder, found by the environment; and what the build said."""
    out = tmp_path_factory.mktemp("artifact") / "detector"
    command = [sys.executable, "-m", "sam3port", "build", "--out", str(out)]
    environment = clean_environment(SAM3PORT_CHECKPOINT=str(files["detector"]))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    return out, done.stderr


def test_the_artifact_of_a_detector_alone(artifact: tuple[Path, str], tiny_artifact: Path) -> None:
    folder, said = artifact
    assert "SAM 3 in Hugging Face's format" in said
    assert "left out: points as examples" in said
    assert "left out: clicks" in said
    model, whole = sam3port.load(folder), sam3port.load(tiny_artifact)
    assert model.manifest.weights["lacks"] == ["points", "clicks"]
    assert set(model.manifest.entries) == {"encode_image", "encode_text", "ground", "exemplar", "ground_like"}
    image, other = model.encode_image(astronaut()), whole.encode_image(astronaut())
    for prompt in ({"text": "a person"}, {"boxes": [(100, 60, 300, 250)]}, {"text": "a", "boxes": [(9, 9, 90, 90)]}):
        found, wanted = image.segment(**prompt, threshold=0), other.segment(**prompt, threshold=0)  # type: ignore[arg-type]
        np.testing.assert_allclose(found.scores, wanted.scores, rtol=0, atol=1e-6)
        np.testing.assert_allclose(found.boxes, wanted.boxes, rtol=0, atol=1e-2)
        assert (found.masks == wanted.masks).mean() > 0.9999
    with pytest.raises(UsageError, match="takes no points as examples: it was built from detector, which has no"):
        image.segment(points=[(10, 10)])
    click: tuple[Callable[[], object], ...] = (
        lambda: image.click(points=[(10, 10)]),
        lambda: image.segment_boxes([(10, 10, 90, 90)]),
        lambda: image.everything(),
    )
    for asked in click:
        with pytest.raises(UsageError, match="takes no clicks: it was built from detector") as error:
            asked()
        assert "--base" in error.value.remedy


def test_segment_refuses_before_it_looks_at_pictures(artifact: tuple[Path, str], tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(astronaut()).save(tmp_path / "photo.png")
    command = [sys.executable, "-m", "sam3port", "segment", "photo.png", "--artifact", str(artifact[0])]
    options: dict[str, Any] = {"cwd": tmp_path, "env": clean_environment(), "timeout": 300}
    for asked in (("--click", "--point", "9,9"), ("--each-box", "--box", "9,9,90,90"), ("--everything",)):
        done = subprocess.run([*command, *asked], capture_output=True, text=True, **options)
        assert done.returncode == 2
        assert "this artifact takes no clicks" in done.stderr


def test_a_manifest_that_lacks_a_function_for_no_reason(artifact: tuple[Path, str], tmp_path: Path) -> None:
    from sam3port.artifact.manifest import read

    content = json.loads((artifact[0] / "manifest.json").read_text())
    content["weights"]["lacks"] = ["points"]
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match="click is missing"):
        read(tmp_path)
