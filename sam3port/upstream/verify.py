"""The proof that a source tree is the pinned one, cached by each file's size and times."""

from __future__ import annotations

import hashlib
import importlib.machinery
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sam3port.cache.places import cache_root
from sam3port.errors import UpstreamError
from sam3port.upstream import manifest, pin
from sam3port.upstream.source import Upstream

# Anything that Python would import in place of, or beside, a pinned module.
_IMPORTABLE: Final = tuple(importlib.machinery.all_suffixes())

# A file that changed so shortly before it was read may change again without its time changing (clocks are
# coarse: 2 s on FAT). As git does for its index, such a file is read again.
_SETTLED_NS: Final = 2_000_000_000

Stamp = list[int]


@dataclass(frozen=True)
class Proof:
    """How a source tree compares with the manifest; posix paths from the tree's root."""

    upstream: Upstream
    changed: tuple[str, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    """Files below ``sam3/`` that Python could import and that the pinned commit does not have."""

    @property
    def identical(self) -> bool:
        return not (self.changed or self.missing or self.extra)

    @property
    def ok(self) -> bool:
        """Whether the tree may be used: it is as pinned, or a checkout of the user's at another commit."""
        return self.identical or not self.upstream.pinned

    def by_kind(self) -> dict[str, tuple[str, ...]]:
        return {"changed": self.changed, "missing": self.missing, "extra": self.extra}

    def differences(self) -> str:
        """All files that differ, by kind: ``changed: a.py, b.py; missing: c.py``."""
        return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in self.by_kind().items() if names)

    def require(self) -> None:
        """Raise UpstreamError, naming every file, unless `ok`."""
        if not self.ok:
            problem = f"{self.upstream.root} is not sam3 as pinned ({pin.SHORT}): {self.differences()}"
            raise UpstreamError(problem, self.upstream.remedy)


def verify(upstream: Upstream, *, cache: bool = True) -> Proof:
    """Compare every file that the port can load with the manifest.

    Args:
        upstream: the tree; one that is not pinned is compared too, but its differences are allowed.
        cache: skip the content of files that were right before and whose size and times are still the same.
    """
    known = _load(upstream.root) if cache else {}
    started = time.time_ns()
    proven: dict[str, Stamp] = {}
    changed: list[str] = []
    missing: list[str] = []
    for path in manifest.blobs():
        file = upstream.root / path
        try:
            status = file.stat()
            stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
            right = known.get(path) == stamp or manifest.matches(path, file.read_bytes())
        except FileNotFoundError:
            missing.append(path)
            continue
        except OSError:  # a folder, a loop of links, no permission: not what was pinned
            right = False
        if not right:
            changed.append(path)
        elif max(stamp[1:]) < started - _SETTLED_NS:
            proven[path] = stamp
    if cache and proven != known:
        _store(upstream.root, proven)
    return Proof(upstream, tuple(changed), tuple(missing), tuple(sorted(_extra(upstream.root))))


def _extra(root: Path) -> Iterator[str]:
    expected = manifest.blobs()
    for folder, folders, files in os.walk(root / "sam3"):
        inside = Path(folder).relative_to(root).as_posix()
        if "__pycache__" in folders:  # only used for the module whose source lies beside it
            folders.remove("__pycache__")
        for name in files:
            if name.endswith(_IMPORTABLE) and f"{inside}/{name}" not in expected:
                yield f"{inside}/{name}"
        # The walk does not follow links, Python does. The pinned commit has none.
        yield from (f"{inside}/{name}" for name in folders if (Path(folder) / name).is_symlink())


def _proof_file(root: Path) -> Path:
    name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:32]
    return cache_root() / "proofs" / f"{name}.json"


def _load(root: Path) -> dict[str, Stamp]:
    try:
        stored = json.loads(_proof_file(root).read_text(encoding="utf-8"))
        return dict(stored["files"]) if stored["manifest"] == manifest.digest() else {}
    except (OSError, ValueError, KeyError, TypeError):  # none yet, or damaged: everything is read again
        return {}


def _store(root: Path, files: dict[str, Stamp]) -> None:
    target = _proof_file(root)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"root": str(root), "manifest": manifest.digest(), "files": files}, file)
        Path(temporary).replace(target)
    except OSError:  # a cache that cannot be written costs time, not correctness
        return
