"""What comes out, read back by those who read it for real."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import shapely.geometry
import skimage.data
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO

from tests.cli.conftest import call
from tests.cli.segment.segmenting import ROTATED

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # without OpenCV it is slower
    import supervision

TEXTS = ("a cat", 'the "2nd": moon')
FORMS = ("yolo", "label-studio", "label-map", "geojson")


@dataclass(frozen=True)
class Run:
    """A run in every form. Not to be written to."""

    folder: Path
    pictures: Path
    said: dict[str, Any]

    @property
    def coco(self) -> COCO:
        return COCO(self.folder / "annotations.json")

    def masks(self, picture: dict[str, Any]) -> list[np.ndarray]:
        """From run lengths, which other tests have compared with the library's own masks."""
        coco = self.coco
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=[picture["id"]]))
        return [rle.decode(annotation["rle"]).astype(np.bool_) for annotation in annotations]


@pytest.fixture(scope="module")
def run(tiny_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Three photographs, one of them turned and one with nothing to be found in, and something else."""
    folder = tmp_path_factory.mktemp("formats")
    pictures = folder / "pictures"
    pictures.mkdir()
    exif = Image.Exif()
    exif[0x0112] = ROTATED
    Image.fromarray(skimage.data.chelsea()).save(pictures / "cat.jpg", exif=exif)
    Image.fromarray(skimage.data.camera()).save(pictures / "grey.png")
    (pictures / "movie.mov").touch()
    texts = [word for text in TEXTS for word in ("--text", text)]
    also = [word for form in FORMS for word in ("--also", form)]
    chosen = ("--threshold", "0.3", "--max-objects", "7", "--polygons", "--json")
    words = ("segment", "pictures", "--artifact", str(tiny_artifact), *texts, *also, *chosen, "--out", ".")
    ended = call(*words, cwd=folder)
    assert ended.returncode == 0, ended.stderr
    assert "1 file is skipped, no pictures that can be read here: movie.mov" in ended.stderr
    return Run(folder, pictures, json.loads(ended.stdout))


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_coco_is_clean_and_importers_find_the_pictures(run: Run) -> None:
    coco = run.coco
    assert run.said["skipped"] == [str(Path("pictures") / "movie.mov")]
    assert [category["name"] for category in coco.dataset["categories"]] == list(TEXTS)
    assert {annotation["category_id"] for annotation in coco.dataset["annotations"]} == {1, 2}
    for picture in coco.dataset["images"]:
        assert (run.folder / picture["file_name"]).resolve().parent == run.pictures.resolve()
        masks = run.masks(picture)
        assert len(masks) <= 7
        for annotation, mask in zip(coco.loadAnns(coco.getAnnIds(imgIds=[picture["id"]])), masks, strict=True):
            x, y, width, height = annotation["bbox"]
            assert x >= 0 and y >= 0 and width > 0 and height > 0
            assert x + width <= picture["width"] and y + height <= picture["height"]
            assert annotation["area"] == mask.sum() > 0
            assert iou(coco.annToMask(annotation).astype(np.bool_), mask) > 0.9
    read = supervision.DetectionDataset.from_coco(str(run.folder), str(run.folder / "annotations.json"), True)
    assert read.classes == list(TEXTS)
    assert len(read) == 2
    for _, pixels, found in read:
        assert found.mask is not None
        assert found.mask.shape[1:] == pixels.shape[:2] or found.mask.shape[1:] == pixels.shape[1::-1]


def test_yolo(run: Run) -> None:
    places = (str(run.pictures), str(run.folder / "yolo" / "labels"), str(run.folder / "yolo" / "data.yaml"))
    # It reads pictures as they are stored, and would take the turned one for 451 x 300.
    turned = run.pictures / "cat.jpg"
    stored = turned.read_bytes()
    shown = np.rot90(skimage.data.chelsea(), -1)
    Image.fromarray(shown).save(turned)
    try:
        read = supervision.DetectionDataset.from_yolo(*places, force_masks=True)
    finally:
        turned.write_bytes(stored)
    assert read.classes == list(TEXTS)
    by_name = {Path(file).name: found for file, found in read.annotations.items()}
    for picture in run.coco.dataset["images"]:
        found = by_name[Path(picture["file_name"]).name]
        expected = run.masks(picture)
        assert len(found) == len(expected) > 0
        for mask, drawn in zip(expected, found.mask, strict=True):
            assert iou(mask, drawn) > 0.85  # its lines there and back have a width


def test_label_studio(run: Run) -> None:
    """As https://labelstud.io/guide/predictions describes it: percents of the picture, names of the interface."""
    tasks = json.loads((run.folder / "label_studio.json").read_bytes())
    for task, picture in zip(tasks, run.coco.dataset["images"], strict=True):
        assert task["data"] == {"image": picture["file_name"]}
        (prediction,) = task["predictions"]
        pieces: dict[int, list[list[float]]] = {}
        for polygon in prediction["result"]:
            assert (polygon["type"], polygon["from_name"], polygon["to_name"]) == ("polygonlabels", "label", "image")
            assert (polygon["original_width"], polygon["original_height"]) == (picture["width"], picture["height"])
            assert polygon["value"]["polygonlabels"][0] in TEXTS
            size = np.array([picture["width"], picture["height"]]) / 100
            corners = (np.array(polygon["value"]["points"]) * size).reshape(-1).tolist()
            pieces.setdefault(int(polygon["id"].partition("-")[0]), []).append(corners)
        masks = run.masks(picture)
        assert list(pieces) == list(range(1, len(masks) + 1))
        for mask, rings in zip(masks, pieces.values(), strict=True):
            drawn = rle.decode(rle.merge(rle.frPyObjects(rings, picture["height"], picture["width"])))
            assert iou(mask, drawn.astype(np.bool_)) > 0.9


def test_a_label_map_has_the_numbers_of_objects(run: Run) -> None:
    for picture in run.coco.dataset["images"]:
        name = Path(picture["file_name"]).stem
        values = np.asarray(Image.open(run.folder / f"{name}.labels.png"))
        expected = np.zeros_like(values)
        masks = run.masks(picture)
        for number in sorted(range(len(masks)), key=lambda each: -masks[each].sum()):
            expected[masks[number]] = number + 1
            with Image.open(run.folder / f"{name}.masks" / f"{number + 1:03}.png") as mask:
                np.testing.assert_array_equal(np.asarray(mask), masks[number])
        np.testing.assert_array_equal(values, expected)


def test_geojson_has_valid_polygons(run: Run) -> None:
    for picture in run.coco.dataset["images"]:
        name = Path(picture["file_name"]).stem
        content = json.loads((run.folder / f"{name}.geojson").read_bytes())
        assert "crs" not in content
        for feature, mask in zip(content["features"], run.masks(picture), strict=True):
            shape = shapely.geometry.shape(feature["geometry"])
            assert abs(shape.buffer(0).area / mask.sum() - 1) < 0.1
            assert feature["properties"]["category"] in TEXTS
            assert feature["properties"]["area"] == mask.sum()


def test_every_object_is_said_with_its_text(run: Run) -> None:
    for image, picture in zip(run.said["images"], run.coco.dataset["images"], strict=True):
        categories = [thing["category"] for thing in image["objects"]]
        coco = run.coco
        assert categories == [each["category_id"] for each in coco.loadAnns(coco.getAnnIds(imgIds=[picture["id"]]))]
        assert set(image["files"]) == {"yolo", "label-map", "geojson"}
        assert all(Path(run.pictures.parent, file).is_file() for file in image["files"].values())
        assert set(image["seconds"]) == {"reading", "encoding", "prompt", "enlarging", "drawing", "writing"}
