"""Which pictures are meant: files, folders and patterns; and what their results are called."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

OVERLAYS: Final = {"png": ".overlay.png", "jpg": ".overlay.jpg"}
"""What the names of overlays end with."""
_MADE: Final = (*OVERLAYS.values(), ".labels.png")
"""What an earlier run made is no picture to be segmented."""
_HEIC: Final = frozenset({".heic", ".heif", ".hif"})
_NAMED: Final = 5
"""Skipped files that are named."""
_NOT_DECODED: Final = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
"""Formats whose suffixes Pillow knows, but that it cannot read by itself, or are no pictures."""


@dataclass(frozen=True)
class Source:
    """A picture that was asked for."""

    file: Path
    name: str
    """What its results are called; no two pictures of a run share one, also where case makes no difference."""
    problem: str | None = None
    """Why there is none."""


@dataclass(frozen=True)
class Sources:
    """The pictures of a run."""

    pictures: list[Source]
    skipped: list[Path]
    """Files in folders that are no pictures, or none that can be read here."""

    def skipped_note(self) -> str | None:
        """A line about those that were skipped; None if there are none."""
        if not self.skipped:
            return None
        named = ", ".join(file.name for file in self.skipped[:_NAMED]) + (", ..." if len(self.skipped) > _NAMED else "")
        what = "1 file is" if len(self.skipped) == 1 else f"{len(self.skipped)} files are"
        heic = any(file.suffix.lower() in _HEIC for file in self.skipped)
        remedy = "; for HEIC: pip install 'sam3port[heic]'" if heic else ""
        return f"{what} skipped, no pictures that can be read here: {named}{remedy}"


def sources(given: Iterable[str]) -> Sources:
    """Every picture once, in the order given; those of a folder by name.

    Args:
        given: files; folders (their own pictures, not those of folders within); patterns such as ``*.jpg`` or
            ``**/*.png`` that no shell has replaced. Files of such names go before patterns.
    """
    found: list[Source] = []
    skipped: list[Path] = []
    seen: set[str] = set()
    taken: set[str] = set()
    for path, problem in _expand(given, skipped):
        if (identity := os.path.realpath(path)) in seen:
            continue
        seen.add(identity)
        name = _free_name(path, taken)
        taken.add(name.casefold())
        found.append(Source(path, name, problem))
    return Sources(found, list(dict.fromkeys(skipped)))


def suffixes() -> frozenset[str]:
    """The suffixes of pictures that Pillow reads, in lower case, with the dot."""
    from PIL import Image

    from sam3port.runtime.picture import with_heic

    with_heic()
    known = Image.registered_extensions().items()
    return frozenset(suffix for suffix, kind in known if kind in Image.OPEN and kind not in _NOT_DECODED)


def _expand(given: Iterable[str], skipped: list[Path]) -> Iterator[tuple[Path, str | None]]:
    for text in given:
        if os.path.lexists(text) or not glob.has_magic(text):
            yield from _entry(Path(text), skipped)
            continue
        matches = sorted(glob.glob(text, recursive=True))  # noqa: PTH207 - Path.glob refuses absolute patterns
        if not matches:
            yield Path(text), f"no file matches {text}"
        for match in matches:
            yield from _entry(Path(match), skipped)


def _entry(path: Path, skipped: list[Path]) -> Iterator[tuple[Path, str | None]]:
    try:
        if path.is_dir():
            yield from _folder(path, skipped)
        elif not path.exists():
            yield path, f"{path} does not exist"
        # A pipe would be waited for, and a device may never end.
        else:
            yield path, None if path.is_file() else f"{path} is no ordinary file"
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        yield path, f"{path} cannot be read: {getattr(error, 'strerror', None) or error}"


def _folder(folder: Path, skipped: list[Path]) -> Sequence[tuple[Path, str | None]]:
    known = suffixes()
    there = [file for file in sorted(folder.iterdir()) if not file.name.startswith(".") and file.is_file()]
    there = [file for file in there if not file.name.lower().endswith(_MADE)]
    files = [file for file in there if file.suffix.lower() in known]
    skipped += [file for file in there if file.suffix.lower() not in known]
    if not files:
        return [(folder, f"the folder {folder} holds no pictures")]
    return [(file, None) for file in files]


def _free_name(path: Path, taken: set[str]) -> str:
    """The file's name without suffix, numbered if another picture has it."""
    stem = path.stem or "picture"
    name, number = stem, 1
    while name.casefold() in taken:
        number += 1
        name = f"{stem}-{number}"
    return name
