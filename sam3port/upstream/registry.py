"""Builds the copy in the user's cache from two wheels of the package index: unpacked, never installed."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sam3port import children
from sam3port.cache.places import not_writable
from sam3port.errors import UpstreamError
from sam3port.upstream import manifest, pin, places

Report = Callable[[str], None]

_OTHER_WAYS: Final = (
    "name a checkout of sam3 at commit "
    f"{pin.COMMIT} with --upstream PATH or SAM3PORT_UPSTREAM (`git clone {pin.REPOSITORY_URL}`), "
    "or set SAM3PORT_CACHE to a cache that was filled elsewhere"
)
_TEMPORARY: Final = ".fetch-"
_WAIT_FOR_OTHERS: Final = 600.0
_PIP_TIME_LIMIT: Final = 300.0


def fetch(report: Report) -> Path:
    """Put the pinned files into the user's cache and return their folder; a damaged copy there is replaced.

    The copy is made aside, checked file by file, and appears by one rename, so a process that is killed
    leaves only a temporary folder, which the next fetch removes.

    Raises:
        UpstreamError: no network, no pip, wrong bytes, or a cache that cannot be written.
    """
    copies = places.cached_copies()
    try:
        copies.mkdir(parents=True, exist_ok=True)
        return _fetch_alone(copies, report)
    except OSError as error:
        refused = not_writable(copies, error)
        raise UpstreamError(refused.problem, refused.remedy) from error


def _fetch_alone(copies: Path, report: Report) -> Path:
    import filelock

    lock = filelock.FileLock(copies / f"{pin.COMMIT}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        report("another process is fetching sam3: waiting for it")
        try:
            lock.acquire(timeout=_WAIT_FOR_OTHERS)
        except filelock.Timeout as error:
            raise UpstreamError(
                f"another process fetches sam3 for over {_WAIT_FOR_OTHERS:.0f} s now ({lock.lock_file})",
                "end that process and try again",
            ) from error
    try:
        destination = places.cached_copy()
        _clear_stale(copies)
        if _is_right(destination):
            return destination
        workspace = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=copies))
        try:
            _build(workspace, report)
            if destination.exists():
                report(f"{destination} was not as pinned: it is replaced")
                destination.rename(workspace / "damaged")
            (workspace / "tree").rename(destination)
        finally:
            shutil.rmtree(workspace, ignore_errors=True)
        report(f"sam3 {pin.SHORT} is in {destination} (under the SAM License, see its LICENSE)")
        return destination
    finally:
        lock.release()


def _clear_stale(copies: Path) -> None:
    """Remove what killed fetches have left. Their process is gone: it would hold the lock.

    Its pip may live on for a moment and write once more; that stays until the next fetch, and is never used.
    """
    for stale in copies.glob(f"{_TEMPORARY}*"):
        shutil.rmtree(stale, ignore_errors=True)


def _is_right(root: Path) -> bool:
    from sam3port.upstream.source import Origin, Upstream
    from sam3port.upstream.verify import verify

    return root.is_dir() and verify(Upstream(root, Origin.CACHE, pin.COMMIT, pinned=True), cache=False).ok


def _build(workspace: Path, report: Report) -> None:
    """Make ``workspace/tree`` from the wheels, each file checked."""
    downloads = workspace / "wheels"
    downloads.mkdir()
    requirements = [wheel.requirement for wheel in pin.WHEELS]
    names = ", ".join(requirements)
    report(f"fetching sam3 {pin.SHORT} from the package index ({names}; 2 MB, not installed)")
    _download(requirements, downloads)
    tree = workspace / "tree"
    missing = set(manifest.blobs())
    for wheel in pin.WHEELS:
        with zipfile.ZipFile(_checked(downloads, wheel)) as archive:
            for path in sorted(missing):
                if (member := wheel.member(path)) is not None:
                    _unpack(archive, member, tree, path)
                    missing.discard(path)
    if missing:
        raise UpstreamError(f"no wheel holds {', '.join(sorted(missing))}", _OTHER_WAYS)


def _unpack(archive: zipfile.ZipFile, member: str, tree: Path, path: str) -> None:
    try:
        data = archive.read(member)
    except KeyError as error:
        raise UpstreamError(f"{archive.filename} does not hold {member}", _OTHER_WAYS) from error
    if not manifest.matches(path, data):
        raise UpstreamError(f"{member} in {archive.filename} is not {path} as pinned", _OTHER_WAYS)
    target = tree / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)


def _checked(downloads: Path, wheel: pin.Wheel) -> Path:
    found = list(downloads.glob(f"{wheel.name}-{wheel.version}-*.whl"))
    if len(found) != 1:
        raise UpstreamError(f"pip fetched {len(found)} files for {wheel.requirement}, not one", _OTHER_WAYS)
    actual = hashlib.sha256(found[0].read_bytes()).hexdigest()
    if actual != wheel.sha256:
        raise UpstreamError(
            f"{found[0].name} from the package index has sha256 {actual}, not {wheel.sha256}: it is not used",
            f"ask who runs the index; or {_OTHER_WAYS}",
        )
    return found[0]


def _download(requirements: list[str], destination: Path) -> None:
    """``pip download``, which honours the user's index, proxy and certificates. No retries: it fails at once."""
    if importlib.util.find_spec("pip") is None:
        raise UpstreamError(
            f"sam3 cannot be fetched: this Python ({sys.executable}) has no pip",
            f"`{sys.executable} -m ensurepip` adds it; or {_OTHER_WAYS}",
        )
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--retries", "0", "--timeout", "10"]
    options += ["--disable-pip-version-check", "--progress-bar", "off", "--dest", str(destination)]
    try:
        result = children.run(
            "pip", "download", *options, *requirements, environment={"PYTHONUTF8": "1"}, timeout=_PIP_TIME_LIMIT
        )
    except subprocess.TimeoutExpired as error:
        raise UpstreamError(f"pip took over {_PIP_TIME_LIMIT:.0f} s to fetch 2 MB", _OTHER_WAYS) from error
    if result.returncode != 0:
        said = [*result.stdout.splitlines(), *result.stderr.splitlines()]
        said = [line for line in said if line.startswith("ERROR")] or said
        raise UpstreamError(
            f"sam3 cannot be fetched from the package index: {' '.join(said[-2:]).strip() or 'pip said nothing'}",
            f"check the network and pip's index (`{sys.executable} -m pip config list`) and try again; "
            f"or {_OTHER_WAYS}",
        )
