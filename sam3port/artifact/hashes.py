"""The hashes of an artifact's files: computed once, then remembered by path, size and time of change."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from sam3port.cache.places import cache_root


def sha256(file: Path) -> str:
    """Of a file's content, hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class Hashes:
    """The sha256 of files in one folder. What is remembered lies in the user's cache; without one nothing is."""

    def __init__(self, folder: Path, afresh: bool = False) -> None:
        """
        Args:
            folder: of the artifact.
            afresh: reads every file, whatever is remembered.
        """
        self._folder = folder.resolve()
        name = hashlib.sha256(os.fsencode(self._folder)).hexdigest()
        self._memory = cache_root() / "artifacts" / f"{name}.json"
        self._known: dict[str, Any] = {} if afresh else self._recall()

    def of(self, name: str) -> str:
        """Of the file ``name`` in the folder.

        Raises:
            OSError: it cannot be read.
        """
        file = self._folder / name
        status = file.stat()
        key = [status.st_size, status.st_mtime_ns]
        known = self._known.get(name)
        if isinstance(known, dict) and known.get("key") == key:
            return str(known.get("sha256"))
        digest = sha256(file)
        self._known[name] = {"key": key, "sha256": digest}
        return digest

    def remember(self) -> None:
        """For the next time. A cache that cannot be written is no harm: then every file is read again."""
        text = json.dumps({"folder": str(self._folder), "files": self._known})
        with contextlib.suppress(OSError):
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            handle, aside = tempfile.mkstemp(dir=self._memory.parent)
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as stream:
                    stream.write(text)
                Path(aside).replace(self._memory)
            except OSError:
                Path(aside).unlink(missing_ok=True)
                raise

    def _recall(self) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError):
            content = json.loads(self._memory.read_bytes())
            if isinstance(content, dict) and isinstance(content.get("files"), dict):
                return dict(content["files"])
        return {}
