"""The artifact that commands use where none is named: the demo's model, built on first use, then kept."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import sam3port
from sam3port.cache.places import cache_root, not_writable
from sam3port.cli.console import messages
from sam3port.errors import UsageError
from sam3port.model.demo_weights import KNOWN, demo_weights

PRESET: Final = "tiny"
_FOLDER: Final = "artifacts"


def own_artifact() -> Path:
    """Its folder in the user's cache. Built now if this state of sam3port has built none on this kind of CPU.

    Raises:
        UsageError: it has to be built, and what that needs is not installed; or the cache cannot be written.
        Sam3PortError: the build failed.
    """
    folder = cache_root() / _FOLDER / f"demo-{_identity()}"
    if (folder / "manifest.json").is_file():
        return folder
    from sam3port.machine.packages import BUILD, missing, remedy

    if lacking := missing(BUILD):
        raise UsageError(
            f"no --artifact is given, and building the demo's needs {', '.join(lacking)}",
            f"give --artifact DIR, or {remedy(BUILD)}",
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_writable(folder, error) from None
    _build(folder)
    return folder


def _build(folder: Path) -> None:
    from sam3port.build.artifact import build_artifact
    from sam3port.build.components import default_store
    from sam3port.build.request import BuildRequest
    from sam3port.cli.build.progress import show
    from sam3port.compiler.entries import linked_components
    from sam3port.tuning.sources import usual_schedules

    messages().print(
        f"no --artifact is given: building the demo's model, once, in about a minute; it knows {KNOWN}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    weights = demo_weights(PRESET)
    request = BuildRequest(linked_components(), PRESET, seed=None, checkpoint=weights, tuned=usual_schedules())
    with show(request, linked=True) as progress:
        build_artifact(request, folder, progress, store=default_store())


def _identity() -> str:
    """A digest of our source and weights and of this machine's CPU: what was built by or for others is not used."""
    from sam3port.machine.processor import running

    package = Path(sam3port.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(file for kind in ("*.py", "*.safetensors") for file in package.rglob(kind)):
        digest.update(f"{file.relative_to(package).as_posix()}\0".encode() + file.read_bytes())
    here = running()
    for part in (here.system, here.machine, *here.offered):
        digest.update(f"{part}\0".encode())
    return digest.hexdigest()[:16]
