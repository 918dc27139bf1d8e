"""Builds components: finds out what is missing, has it made, puts it in place."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import filelock

from sam3port.artifact.manifest import MANIFEST
from sam3port.build.errors import BuildFailed
from sam3port.build.keys import stage_keys
from sam3port.build.progress import Progress, State, Step
from sam3port.build.request import BuildRequest
from sam3port.build.results import Results
from sam3port.build.workshop import Workshop
from sam3port.cache.store import Store
from sam3port.errors import UsageError
from sam3port.machine.cpus import usable_cpus
from sam3port.placing import file_errors

if TYPE_CHECKING:
    from sam3port.build.linking import Linking
    from sam3port.compiler.stage import Stage
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
    if (out / MANIFEST).exists():
        raise UsageError(f"{out} holds an artifact", "give another --out: components get a folder each")
    plan, keys = prepare(request, progress)
    with file_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        with the_only_build(out / _LOCK, out, progress), store_for(store, out / ".store") as kept:
            results = Results(request, plan, keys, out, kept)
            failures = make_missing(results, progress, out / LOG, jobs)
            kept.clean()
    if failures:
        raise BuildFailed.of(failures, len(keys), out / LOG)
    return {name: out / name for name in request.components}


def prepare(request: BuildRequest, progress: Progress) -> tuple[Plan, dict[str, dict[Stage, str]]]:
    """What can be checked before the heavy work: the patches that upstream goes through, and the keys of all stages.

    Raises:
        UsageError, UpstreamError: see `build`.
    """
    request.sizes()
    target = request.build_target()
    target.check()
    for announcement in target.announcements():
        progress.note(announcement)
    for checkpoint in (request.checkpoint, request.base):
        if checkpoint is not None and not checkpoint.exists():
            raise UsageError(f"there is no checkpoint {checkpoint}", "give a file, or a folder with one")
    plan = _plan(request, progress)
    return plan, stage_keys(request, plan)


def make_missing(
    results: Results, progress: Progress, log_file: Path, jobs: int | None, linking: Linking | None = None
) -> dict[str, str]:
    """Looks for what is there, has the rest made, and linked if ``linking`` says how.

    Returns:
        What went wrong, by component.
    """
    for name, stage in results.look():
        progress.step(Step(name, stage, State.CACHED))
    workshop = Workshop(results, progress, log_file, jobs or min(2, usable_cpus()), linking)
    if results.missing() or linking is not None:
        workshop.run()
    results.finish()
    return workshop.failures


def _plan(request: BuildRequest, progress: Progress) -> Plan:
    from sam3port.patching.install import make_plan
    from sam3port.plugins import switched_off
    from sam3port.upstream.source import ensure

    found = ensure(request.upstream, report=progress.note)
    if not found.pinned:
        progress.note(found.describe())
    return make_plan(request.upstream, switched_off(request.disable))


@contextlib.contextmanager
def the_only_build(lock_file: Path, out: Path, progress: Progress) -> Iterator[None]:
    """Waits until no other build holds ``lock_file``, and says so."""
    lock = filelock.FileLock(lock_file)
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
def store_for(given: Store | None, folder: Path) -> Iterator[Store]:
    """The store given, or one for this build alone in ``folder``."""
    if given is not None:
        yield given
        return
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield Store(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def default_store() -> Store:
    """The store in the user's cache.

    Raises:
        UsageError: nothing can be written there.
    """
    from sam3port.cache.places import cache_root, not_writable

    folder = cache_root() / "builds"
    try:
        store = Store(folder)
        store.check_writable()
    except OSError as error:
        raise not_writable(folder, error) from error
    return store
