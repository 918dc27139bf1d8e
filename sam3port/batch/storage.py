"""Folders on disks and object stores, by one interface: pyarrow's file systems."""

from __future__ import annotations

import contextlib
import functools
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from sam3port.errors import UsageError

_ASIDE: Final = ".new"


def is_uri(text: str) -> bool:
    """Whether it names a file system, such as ``s3://bucket/folder``."""
    return "://" in text


@functools.lru_cache(64)
def resolve(place: str) -> tuple[Any, str]:
    """The file system of a URI, or of a path on this machine, and the path within it.

    Raises:
        UsageError: pyarrow knows no such file system, or cannot reach it.
    """
    if not is_uri(place):
        return fs.LocalFileSystem(), os.path.abspath(place)  # noqa: PTH100 - without following links
    try:
        system, path = fs.FileSystem.from_uri(place)
    except (pa.ArrowException, OSError, ValueError) as error:
        why = line(error).replace(place, shown(place))
        raise UsageError(f"{shown(place)} cannot be reached: {why}", "give s3://, gs:// or a path") from None
    return system, path


def shown(place: str) -> str:
    """A URI as it may be printed and kept: without a user's name, password and options."""
    if not is_uri(place):
        return place
    parts = urlsplit(place)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def line(error: BaseException) -> str:
    """What a library says, its first line."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


@dataclass(frozen=True)
class Folder:
    """A folder that results are written to; it is made where that is needed."""

    place: str
    """A path or a URI."""

    @property
    def local(self) -> Path | None:
        """The path, if it is on a disk."""
        system, path = resolve(self.place)
        return Path(path) if isinstance(system, fs.LocalFileSystem) else None

    def read(self, name: str) -> bytes | None:
        """The content of a file; None if there is none.

        Raises:
            OSError: it cannot be read.
        """
        system, path = resolve(self.place)
        try:
            with system.open_input_file(f"{path}/{name}") as stream:
                content: bytes = stream.read()
                return content
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """A file that appears whole, or not at all: written aside, then renamed.

        Raises:
            OSError: it cannot be written.
        """
        system, path = resolve(self.place)
        parent, _, last = f"{path}/{name}".rpartition("/")
        aside = f"{parent}/.{last}.{uuid.uuid4().hex}{_ASIDE}"
        try:
            with _opened(system, parent, aside) as stream:
                stream.write(content)
            system.move(aside, f"{parent}/{last}")
        except BaseException:
            with contextlib.suppress(OSError):  # what is left aside is never read
                self._forget(aside)
            raise

    def names(self, within: str, suffix: str) -> list[str]:
        """The files in a folder of this folder, in order, but those aside; none if there is no such folder."""
        return [name for name in self._all(within) if name.endswith(suffix) and not name.startswith(".")]

    def remove(self, name: str) -> None:
        """Deletes a file, if it is there."""
        self._forget(f"{resolve(self.place)[1]}/{name}")

    def remove_leftovers(self, within: str) -> None:
        """What processes that were killed left aside. Nobody may be writing."""
        for name in self._all(within):
            if name.startswith(".") and name.endswith(_ASIDE):
                self.remove(f"{within}/{name}")

    def _all(self, within: str) -> list[str]:
        system, path = resolve(self.place)
        found = system.get_file_info(fs.FileSelector(f"{path}/{within}", allow_not_found=True))
        return sorted(info.base_name for info in found if info.type == fs.FileType.File)

    def _forget(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            resolve(self.place)[0].delete_file(path)


def _opened(system: Any, folder: str, file: str) -> Any:
    """A new file's stream. Folders are made where files cannot be without; on object stores they can."""
    try:
        return system.open_output_stream(file)
    except FileNotFoundError:
        system.create_dir(folder, recursive=True)
        return system.open_output_stream(file)
