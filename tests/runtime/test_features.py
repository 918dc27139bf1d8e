"""The image encoder's results on disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from safetensors.numpy import load_file

import sam3port
from sam3port.errors import UsageError
from sam3port.runtime.encoded import EncodedImage
from sam3port.runtime.features import FeatureFolder, digest_of
from sam3port.runtime.model import Model

PHOTO = skimage.data.chelsea()


@pytest.fixture(scope="module")
def image(model: Model) -> EncodedImage:
    return model.encode_image(PHOTO)


def answers(image: EncodedImage) -> list[np.ndarray]:
    found, clicked = image.segment(text="cat", threshold=0), image.click([(200, 100)])
    return [found.scores, found.boxes, found.masks, clicked.scores, clicked.logits]


def test_what_is_read_answers_as_what_was_computed(model: Model, image: EncodedImage, tmp_path: Path) -> None:
    image.save(tmp_path / "a")
    assert load_file(tmp_path / "a")["pixels"].shape == PHOTO.shape, "anybody's safetensors"
    again = model.open_features(tmp_path / "a")
    np.testing.assert_array_equal(again.pixels, PHOTO)
    for one, other in zip(answers(image), answers(again), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_half_the_size_is_nearly_the_same(model: Model, image: EncodedImage, tmp_path: Path) -> None:
    image.save(tmp_path / "whole", pixels=False)
    image.save(tmp_path / "half", "float16", pixels=False)
    assert (tmp_path / "half").stat().st_size < 0.52 * (tmp_path / "whole").stat().st_size
    found = answers(model.open_features(tmp_path / "half", PHOTO))
    for index, tolerance in ((0, 0.01), (3, 0.01)):
        np.testing.assert_allclose(found[index], answers(image)[index], atol=tolerance)


def test_what_does_not_fit_is_refused(model: Model, image: EncodedImage, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be kept as 'int8'"):
        image.save(tmp_path / "a", "int8")
    large = EncodedImage(model, PHOTO, model.engine.on_device({"features_0": np.full((1, 2), 1e6, np.float32)}))
    with pytest.raises(UsageError, match="do not fit float16"):
        large.save(tmp_path / "a", "float16")
    with pytest.raises(UsageError, match="cannot be written"):
        image.save(tmp_path / "absent" / "a")
    assert list(tmp_path.iterdir()) == []


def test_other_pictures_and_artifacts_are_refused(
    model: Model, image: EncodedImage, copy_of_artifact: Path, tmp_path: Path
) -> None:
    file = tmp_path / "a"
    image.save(file, pixels=False)
    with pytest.raises(UsageError, match="holds no picture"):
        model.open_features(file)
    with pytest.raises(UsageError, match="made of another picture"):
        model.open_features(file, PHOTO[1:])
    manifest = copy_of_artifact / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"seed": 0', b'"seed": 1'))
    with pytest.raises(UsageError, match="made by another artifact"):
        sam3port.load(copy_of_artifact).open_features(file, PHOTO)


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def test_damaged_files_are_refused_wherever_the_damage_is(model: Model, image: EncodedImage, tmp_path: Path) -> None:
    image.save(tmp_path / "a", pixels=False)
    whole = (tmp_path / "a").read_bytes()
    header = whole.index(b"}") + 200
    bad: dict[str, bytes] = {
        "empty": b"",
        "text": b"Dear all,",
        "cut": whole[: len(whole) // 2],
        "one less": whole[:-1],
    }
    bad |= {f"bit at {place}": flipped(whole, place) for place in (0, 3, 20, header, len(whole) // 2, len(whole) - 1)}
    for name, content in bad.items():
        (tmp_path / "b").write_bytes(content)
        with pytest.raises(UsageError) as raised:
            model.open_features(tmp_path / "b", PHOTO)
        assert str(tmp_path / "b") in raised.value.problem, name
    with pytest.raises(UsageError):
        model.open_features(tmp_path / "absent", PHOTO)


def test_a_folder_keeps_those_used_last(model: Model, image: EncodedImage, tmp_path: Path) -> None:
    arrays, specs = image.arrays(), model.feature_specs
    one = sum(array.nbytes for array in arrays.values()) + 4096
    folder = FeatureFolder(tmp_path / "deep" / "features", 3 * one)
    digests = [digest_of(PHOTO[number:]) for number in range(4)]
    for number, digest in enumerate(digests[:3]):
        assert folder.get(digest, model.identity, specs) is None
        folder.put(digest, model.identity, arrays)
        (file,) = (tmp_path / "deep" / "features").glob(f"{digest[:32]}*")
        os.utime(file, (number, number))
    assert folder.get(digests[0], model.identity, specs) is not None  # used now
    folder.put(digests[3], model.identity, arrays)
    there = [folder.get(digest, model.identity, specs) is not None for digest in digests]
    assert there == [True, False, True, True]
    assert folder.get(digests[0], "0" * 64, specs) is None, "another artifact"
    (file,) = (tmp_path / "deep" / "features").glob(f"{digests[0][:32]}*")
    file.write_bytes(file.read_bytes()[:-1])
    assert folder.get(digests[0], model.identity, specs) is None, "damaged"
    other: Any = {**specs, "features_0": ((1, 2), "float32")}
    assert folder.get(digests[2], model.identity, other) is None
