"""The git blob id of every upstream file that the port can load, and how a file is compared with it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_name("manifest.txt")


@cache
def blobs() -> dict[str, str]:
    """Posix path in the repository -> git blob id (40 hex digits).

    ``manifest.txt`` has a line ``<blob id> <size> <path>`` for all ``sam3/**/*.py`` of the pinned commit, its
    LICENSE and its BPE vocabulary.
    """
    return {path: blob for blob, _, path in _lines()}


@cache
def sizes() -> dict[str, int]:
    """Posix path in the repository -> size in bytes."""
    return {path: int(size) for _, size, path in _lines()}


def _lines() -> list[list[str]]:
    return [line.split(" ", 2) for line in FILE.read_text(encoding="utf-8").splitlines()]


@cache
def digest() -> str:
    """Identifies the manifest itself: a proof made with another one proves nothing."""
    import hashlib

    return hashlib.sha256(FILE.read_bytes()).hexdigest()


def blob_id(data: bytes) -> str:
    """What ``git hash-object`` says for a file of these bytes."""
    import hashlib  # here, because it costs 3 ms and a start that executes no module needs none

    header = b"blob %d\0" % len(data)
    return hashlib.sha1(header + data, usedforsecurity=False).hexdigest()


def is_text(path: str) -> bool:
    """Whether git may have changed the file's line ends on checkout (``core.autocrlf`` on Windows)."""
    return not path.endswith(".gz")


def matches(path: str, data: bytes) -> bool:
    """Whether ``data`` is the pinned content of ``path``, a file of the manifest; CRLF is accepted."""
    expected = blobs()[path]
    if blob_id(data) == expected:
        return True
    return is_text(path) and b"\r\n" in data and blob_id(data.replace(b"\r\n", b"\n")) == expected
