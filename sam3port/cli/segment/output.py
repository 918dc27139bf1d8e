"""The files that a run of ``sam3port segment`` leaves: each appears whole, or stays as it was."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sam3port.cli.segment.images import OVERLAY, Source
from sam3port.errors import UsageError

if TYPE_CHECKING:
    from sam3port.cli.segment.objects import Found

ANNOTATIONS: Final = "annotations.json"
LOCK: Final = ".segment.lock"
_MASK: Final = re.compile(r"\d{3,}\.png")
_REMEDY: Final = "choose a folder with --out that can be written to, with room in it"


class Output:
    """The folder of a run; `open_output` makes one."""

    def __init__(self, folder: Path, with_masks: bool) -> None:
        self.folder = folder
        self._with_masks = with_masks
        self.written = 0

    def overlay(self, source: Source) -> Path:
        return self.folder / f"{source.name}{OVERLAY}"

    def masks(self, source: Source) -> Path:
        return self.folder / f"{source.name}.masks"

    def write(self, source: Source, found: Found) -> list[Path]:
        """Overlay and masks of one picture: all of them, or none.

        Returns:
            the overlay, then the masks in the order of ``found.order``.

        Raises:
            UsageError: they cannot be written.
        """
        overlay, folder = self.overlay(source), self.masks(source)
        if not self._with_masks:
            found.answer.save(overlay)
            self.written += 1
            return [overlay]
        from PIL import Image

        from sam3port.port.folder import put_in_place

        names = [f"{number:03}.png" for number in range(1, len(found.order) + 1)]
        with _writing(folder), put_in_place(folder) as new:
            for name, index in zip(names, found.order, strict=True):
                Image.fromarray(found.answer.masks[index]).save(new / name)
            found.answer.save(overlay)
        self.written += 1
        return [overlay, *(folder / name for name in names)]

    def write_annotations(self, content: dict[str, Any]) -> Path:
        """COCO's file about all pictures of the run."""
        from sam3port.runtime.files import replacing

        file = self.folder / ANNOTATIONS
        with replacing(file) as stream:
            stream.write(json.dumps(content, allow_nan=False).encode())
        self.written += 1
        return file


@contextlib.contextmanager
def open_output(folder: Path, sources: Sequence[Source], with_masks: bool) -> Iterator[Output]:
    """The folder for a run's files, which no other run writes to meanwhile. Made if absent; goes if it stays empty.

    Raises:
        UsageError: it cannot be written to, another run is using it, or something of the user's would be overwritten.
    """
    import filelock

    output = Output(folder, with_masks)
    _spare(output, sources)
    made = not folder.exists()
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / LOCK)
    with _writing(folder):
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:  # an OSError, too
            raise UsageError(f"another run is writing into {folder}", "wait for it, or choose another --out") from None
    try:
        with _writing(folder):
            _remove_leftovers(folder)
        yield output
    finally:
        with contextlib.suppress(OSError):
            (folder / LOCK).unlink(missing_ok=True)  # held: whoever comes now makes another one
            if made and not output.written:
                folder.rmdir()
        lock.release()


@dataclass(frozen=True)
class Coco:
    """COCO's description of a run, as it grows."""

    category: str
    images: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)

    def add(self, source: Source, found: Found) -> list[dict[str, Any]]:
        """A picture and what was found in it; returns what was added about its objects, in their order."""
        height, width = found.answer.pixels.shape[:2]
        number = len(self.images) + 1
        self.images.append({"id": number, "file_name": str(source.file), "width": width, "height": height})
        encoded = found.answer.to_coco(image_id=number)
        first = len(self.annotations) + 1
        added = [{**encoded[index], "id": first + place} for place, index in enumerate(found.order)]
        self.annotations.extend(added)
        return added

    def as_json(self) -> dict[str, Any]:
        import sam3port

        return {
            "info": {"description": "objects found by SAM 3", "version": f"sam3port {sam3port.__version__}"},
            "images": self.images,
            "annotations": self.annotations,
            "categories": [{"id": 1, "name": self.category}],
        }


def _spare(output: Output, sources: Sequence[Source]) -> None:
    """Refuses to write over a picture that is to be read, and to replace a folder that no run made."""
    read = {source.file.resolve(): source.file for source in sources}
    for source in sources:
        if (file := read.get(output.overlay(source).resolve())) is not None:
            raise UsageError(f"the result would be written over the picture {file}", "choose another --out")
        masks = output.masks(source)
        try:
            strange = masks.exists() and not all(_MASK.fullmatch(held.name) for held in masks.iterdir())
        except OSError:  # no folder
            strange = True
        if strange:
            raise UsageError(f"{masks} holds something that `sam3port segment` did not make", "choose another --out")


def _remove_leftovers(folder: Path) -> None:
    """What runs that were killed left aside. Nobody else writes here: the lock is held."""
    for path in folder.glob(".*.new"):
        if path.is_dir() and path.name.endswith(".masks.new"):
            shutil.rmtree(path, ignore_errors=True)
        elif re.fullmatch(r"\..+\.(png|json)\.\d+-\d+\.new", path.name):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        name = error.filename or folder
        raise UsageError(f"{name} cannot be written: {error.strerror or error}", _REMEDY) from error
