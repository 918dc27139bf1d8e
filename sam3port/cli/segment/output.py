"""The files that a run of ``sam3port segment`` leaves: each appears whole, or stays as it was."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sam3port.cli.segment.forms import Forms
from sam3port.cli.segment.images import OVERLAYS, Source
from sam3port.cli.segment.only_run import only_run
from sam3port.cli.segment.outcome import mask_name
from sam3port.errors import UsageError

if TYPE_CHECKING:
    from sam3port.cli.segment.described import Described, Object
    from sam3port.cli.segment.outcome import Found, Outcome
    from sam3port.runtime.masks.polygons import Polygon

ANNOTATIONS: Final = "annotations.json"
LABEL_STUDIO: Final = "label_studio.json"
_MASK: Final = re.compile(r"\d{3,}\.png")
_ASIDE: Final = re.compile(r"\..+\.(png|jpg|json|geojson|txt|yaml|journal)\.\d+-\d+\.new")
_REMEDY: Final = "choose a folder with --out that can be written to, with room in it"


class Output:
    """The folder of a run; `open_output` makes one."""

    def __init__(self, folder: Path, forms: Forms, categories: Sequence[str]) -> None:
        self.folder = folder
        self.forms = forms
        self.categories = categories

    @property
    def annotations(self) -> Path:
        return self.folder / ANNOTATIONS

    def files(self, name: str) -> dict[str, Path]:
        """What is written about a picture whose results are called so, by form."""
        forms, folder = self.forms, self.folder
        found = {} if forms.overlay is None else {"overlay": folder / f"{name}{OVERLAYS[forms.overlay]}"}
        places = {
            "masks": folder / f"{name}.masks",
            "label-map": folder / f"{name}.labels.png",
            "geojson": folder / f"{name}.geojson",
            "yolo": folder / "yolo" / "labels" / f"{name}.txt",
        }
        wanted = {*forms.also, "masks"} if forms.masks else forms.also
        return found | {form: place for form, place in places.items() if form in wanted}

    def file_name(self, picture: Path) -> str:
        """Where a picture lies, seen from ``annotations.json``, so that importers find it; with slashes."""
        there = os.path.join(os.path.realpath(picture.parent), picture.name)  # noqa: PTH118 - its own name stays
        try:
            seen = os.path.relpath(there, os.path.realpath(self.folder))
        except ValueError:  # another drive
            seen = there
        return Path(seen).as_posix()

    def complete(self, picture: Described) -> bool:
        """Whether everything about a picture that is described is still there."""
        files = self.files(picture.name)
        masks = (
            [files["masks"] / mask_name(number) for number in range(1, len(picture.objects) + 1)]
            if ("masks" in files)
            else []
        )
        return all(file.exists() for file in (*files.values(), *masks))

    def write(self, found: Found, picture: Described, outcome: Outcome) -> None:
        """The files of one picture: one mask after the other, and the overlay last.

        Args:
            found: what was found.
            picture: gets its objects: those that have pixels, in ``found.order``.
            outcome: gets the files, and the seconds of each stage.

        Raises:
            UsageError: they cannot be written.
        """
        files = self.files(picture.name)
        with writing(self.folder), contextlib.ExitStack() as stack:
            masks = stack.enter_context(self._new_masks(files["masks"])) if "masks" in files else None
            kept, pieces = self._objects(found, picture, outcome, masks)
            if "overlay" in files:
                self._draw(found, kept, picture, outcome, files["overlay"])
            with outcome.stage("writing"):
                self._write_others(files, picture, pieces, outcome.source.file)
                stack.close()  # flushes the masks
        outcome.files = files

    def write_run(self, pictures: Sequence[Described], run: dict[str, Any]) -> Path:
        """The files about all pictures of the run.

        Returns:
            COCO's, which is always there.
        """
        from sam3port.cli.segment.formats import coco, label_studio, yolo

        with writing(self.folder):
            self._write_json(self.annotations, coco.coco(pictures, self.categories, run, self.forms.polygons))
            if "label-studio" in self.forms.also:
                tasks = label_studio.tasks(pictures, self.categories, "sam3port")
                self._write_json(self.folder / LABEL_STUDIO, tasks)
            if "yolo" in self.forms.also:
                self._write(self.folder / "yolo" / "data.yaml", yolo.data(self.categories).encode())
        return self.annotations

    @staticmethod
    def _new_masks(folder: Path) -> contextlib.AbstractContextManager[Path]:
        from sam3port.placing import put_in_place

        return put_in_place(folder)

    def _objects(
        self, found: Found, picture: Described, outcome: Outcome, masks: Path | None
    ) -> tuple[list[int], list[list[Polygon]]]:
        """Describes each, writes its mask, and forgets the pixels. Indices and polygons of those that have any."""
        from PIL import Image

        from sam3port.cli.segment.described import joined
        from sam3port.runtime.masks.polygons import polygons

        kept: list[int] = []
        pieces: list[list[Polygon]] = []
        for index in found.order:
            with outcome.stage("enlarging"):
                region = found.answer.regions[index]
            if not region:
                continue
            kept.append(index)
            with outcome.stage("writing"):
                if self.forms.with_polygons:
                    pieces.append(polygons(region))
                rings = joined(pieces[-1]) if self.forms.with_rings else None
                picture.objects.append(_object(found, index, region, picture, rings))
                if masks is not None:
                    whole = Image.fromarray(region.mask(picture.height, picture.width))
                    whole.save(masks / mask_name(len(kept)), compress_level=3)
        if empty := len(found.order) - len(kept):
            what = "1 object has no pixel" if empty == 1 else f"{empty} objects have no pixels"
            outcome.notes.append(f"{outcome.source.file}: {what} above the mask threshold, and left out")
        return kept, pieces

    def _draw(self, found: Found, kept: list[int], picture: Described, outcome: Outcome, file: Path) -> None:
        from sam3port.runtime.draw import save
        from sam3port.runtime.result import Clicked

        with outcome.stage("drawing"):
            if isinstance(found.answer, Clicked):
                image = found.answer.overlay()
            else:
                image = found.answer.take(kept).overlay([thing.area for thing in picture.objects])
        with outcome.stage("writing"):
            save(file, image)

    def _write_others(
        self, files: dict[str, Path], picture: Described, pieces: list[list[Polygon]], source: Path
    ) -> None:
        from sam3port.cli.segment.formats import geojson, geotiff, label_map, yolo
        from sam3port.runtime.draw import save

        if "label-map" in files:
            save(files["label-map"], label_map.label_map(picture))
        if "yolo" in files:
            self._write(files["yolo"], yolo.labels(picture, pieces).encode())
        if "geojson" in files:
            place = geotiff.georeference(source)
            self._write_json(files["geojson"], geojson.geojson(picture, pieces, self.categories, place))

    def _write_json(self, file: Path, content: Any) -> None:
        self._write(file, json.dumps(content, allow_nan=False).encode())

    def _write(self, file: Path, content: bytes) -> None:
        from sam3port.placing import replacing

        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as stream:
            stream.write(content)


@contextlib.contextmanager
def open_output(folder: Path, sources: Sequence[Source], forms: Forms, categories: Sequence[str]) -> Iterator[Output]:
    """The folder for a run's files, which no other run writes to meanwhile. Made if absent; goes if it stays empty.

    Raises:
        UsageError: it cannot be written to, another run is using it, or something of the user's would be overwritten.
    """
    output = Output(folder, forms, categories)
    _spare(output, sources)
    with only_run(folder, lambda: writing(folder)):
        with writing(folder):
            _remove_leftovers(folder)
        yield output


def _object(found: Found, index: int, region: Any, picture: Described, rings: Any) -> Object:
    from sam3port.cli.segment.described import Object
    from sam3port.runtime.masks.rle import encode
    from sam3port.runtime.result import Clicked, coco_box

    box = None if isinstance(found.answer, Clicked) else found.answer.boxes[index]
    return Object(
        category=found.category(index),
        score=float(found.answer.scores[index]),
        box=coco_box(region, box, picture.height, picture.width),
        area=region.area,
        rle=encode(region, picture.height, picture.width),
        known_rings=rings,
    )


def _spare(output: Output, sources: Sequence[Source]) -> None:
    """Refuses to write over a picture that is to be read, and to replace a folder that no run made."""
    read = {source.file.resolve(): source.file for source in sources}
    for source in sources:
        files = output.files(source.name)
        for file in files.values():
            if (picture := read.get(file.resolve())) is not None:
                raise UsageError(f"the result would be written over the picture {picture}", "choose another --out")
        if (masks := files.get("masks")) is None:
            continue
        try:
            strange = masks.exists() and not all(_MASK.fullmatch(held.name) for held in masks.iterdir())
        except OSError:  # no folder
            strange = True
        if strange:
            raise UsageError(f"{masks} holds something that `sam3port segment` did not make", "choose another --out")


def _remove_leftovers(folder: Path) -> None:
    """What runs that were killed left aside. Nobody else writes here: the lock is held."""
    for path in (*folder.glob(".*.new"), *(folder / "yolo").rglob(".*.new")):
        if path.is_dir() and path.name.endswith(".masks.new"):
            shutil.rmtree(path, ignore_errors=True)
        elif _ASIDE.fullmatch(path.name):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """What the system refuses within the block is said as the user's problem with a folder of results."""
    try:
        yield
    except OSError as error:
        name = error.filename or folder
        raise UsageError(f"{name} cannot be written: {error.strerror or error}", _REMEDY) from error
