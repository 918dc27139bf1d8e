"""Object code from another machine's build, linked where it runs."""

from __future__ import annotations

import re
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from sam3port.cache.places import CACHE_VARIABLE, cache_root
from sam3port.errors import UsageError

_OBJECT: Final = re.compile(r"\w[\w.+-]*\.(o|obj)", re.ASCII)


def linked(library: Path, sha256: str) -> Path:
    """The library as this system loads it: itself, or, of a ``.tar`` with object code, what a compiler links from it.

    That is done once and kept in the user's cache; nothing is written into the artifact.

    Args:
        library: ``model.so`` or ``model.tar``.
        sha256: its hash, which has been checked.

    Raises:
        UsageError: there is no compiler, it fails, or the cache cannot be written.
    """
    if library.suffix != ".tar":
        return library
    kept = cache_root() / "artifacts" / f"{sha256}.so"
    if kept.exists():
        return kept
    from tvm.support import cc

    if cc.get_cc() is None:
        raise UsageError(
            f"{library} is object code, and this machine has no C compiler to link it with",
            "install one (gcc or clang; once linked it is not needed again), or build on this machine",
        )
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=kept.parent))
        try:
            cc.create_shared(str(aside / "linked.so"), [str(file) for file in _unpacked(library, aside)])
            (aside / "linked.so").replace(kept)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        problem = f"{error.filename or kept.parent} cannot be written: {error.strerror or error}"
        raise UsageError(f"{library} is linked on this machine, and {problem}", f"set {CACHE_VARIABLE}") from error
    except (RuntimeError, ValueError, tarfile.TarError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise UsageError(f"{library} cannot be linked: {reason}", "build on this machine: sam3port build") from error
    return kept


def _unpacked(library: Path, folder: Path) -> list[Path]:
    """The object files of an archive, written into ``folder``: files of plain names, as TVM packs them, nothing else.

    By hand, because ``extractall`` has its filters since Python 3.11.4 only, and Debian 12 has 3.11.2.

    Raises:
        ValueError: it holds something else.
    """
    files = []
    with tarfile.open(library) as archive:
        for member in archive:
            file, content = folder / member.name, archive.extractfile(member) if member.isreg() else None
            if content is None or not _OBJECT.fullmatch(member.name) or file in files:
                raise ValueError(f"{member.name!r} in it is no object file, or there twice")
            with content, file.open("wb") as unpacked:
                shutil.copyfileobj(content, unpacked)
            files.append(file)
    return sorted(files)
