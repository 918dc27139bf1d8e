"""Builds components: finds out what is missing, has it made, puts it in place."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import filelock

from sam3port.errors import UsageError
from sam3port.machine.cpus import usable_cpus
from sam3port.port.keys import stage_keys
from sam3port.port.progress import Progress, State, Step
from sam3port.port.request import BuildRequest
from sam3port.port.results import Results
from sam3port.port.store import Store
from sam3port.port.workshop import BuildFailed, Workshop

if TYPE_CHECKING:
    from sam3port.patching.plan import Plan

__all__ = ["BuildFailed", "build", "default_store"]

LOG: Final = "build.log"
_LOCK: Final = ".lock"


def build(
    request: BuildRequest, out: Path, progress: Progress, *, store: Store | None = None, jobs: int | None = None
) -> dict[str, Path]:
    """Builds the components of ``request`` into folders of ``out``, each complete or as it was before.

    Args:
        request: what to build; ``components`` must not be empty.
        out: made if absent. One build at a time works in it; another waits.
        progress: is told what happens.
        store: where results of stages are kept and looked for; None keeps nothing beyond ``out``.
        jobs: worker processes at a time, by default one for each of at most 2 CPUs.

    Returns:
        The folder of each component.

    Raises:
        UsageError: a name or a size is impossible.
        UpstreamError: upstream's source is absent or wrong.
        BuildFailed: stages failed; everything else is built.
    """
    request.sizes()
    request.build_target()
    if request.checkpoint is not None and not request.checkpoint.is_file():
        raise UsageError(f"there is no checkpoint {request.checkpoint}")
    plan = _plan(request, progress)
    keys = stage_keys(request, plan)
    out.mkdir(parents=True, exist_ok=True)
    with _only_build_in(out, progress), _store(store, out) as kept:
        results = Results(request, plan, keys, out, kept)
        for name, stage in results.look():
            progress.step(Step(name, stage, State.CACHED))
        workshop = Workshop(results, progress, out / LOG, jobs or min(2, usable_cpus()))
        if results.missing():
            workshop.run()
        results.finish()
        kept.clean()
    if workshop.failures:
        listed = "\n  ".join(workshop.failures.values())
        count = f"{len(workshop.failures)} of {len(keys)} components"
        raise BuildFailed(f"{count} could not be built:\n  {listed}", workshop.see_log())
    return {name: out / name for name in request.components}


def _plan(request: BuildRequest, progress: Progress) -> Plan:
    from sam3port.patching.install import make_plan
    from sam3port.plugins import switched_off
    from sam3port.upstream.source import ensure

    found = ensure(request.upstream, report=progress.note)
    if not found.pinned:
        progress.note(found.describe())
    return make_plan(request.upstream, switched_off(request.disable))


@contextlib.contextmanager
def _only_build_in(out: Path, progress: Progress) -> Iterator[None]:
    lock = filelock.FileLock(out / _LOCK)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        progress.note(f"another build is working in {out}; waiting for it")
        lock.acquire(poll_interval=0.2)
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _store(given: Store | None, out: Path) -> Iterator[Store]:
    """The store, or one for this build alone."""
    if given is not None:
        yield given
        return
    folder = out / ".store"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield Store(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def default_store() -> Store:
    """The store in the user's cache."""
    from sam3port.upstream.places import cache_root

    return Store(cache_root() / "builds")
