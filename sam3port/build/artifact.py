"""Builds the artifact: a folder with all that a program needs to segment pictures on one kind of machine."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sam3port.artifact.manifest import KIND, MANIFEST, TOKENIZER, parameters_file
from sam3port.build.components import make_missing, prepare, store_for, the_only_build
from sam3port.build.errors import BuildFailed
from sam3port.build.keys import link_key
from sam3port.build.library import model_file
from sam3port.build.linking import Linking
from sam3port.build.manifest import describe
from sam3port.build.progress import LINK, MODEL, Progress, State, Step
from sam3port.build.requirements import requirements
from sam3port.build.results import Results
from sam3port.cache.store import Store, link
from sam3port.compiler.compiled_for import read_machine
from sam3port.compiler.entries import entries_for, linked_components
from sam3port.compiler.stage import PARAMETERS, Stage
from sam3port.errors import UpstreamError, UsageError
from sam3port.placing import file_errors, put_in_place

if TYPE_CHECKING:
    from sam3port.build.request import BuildRequest
    from sam3port.patching.plan import Plan

LICENSE: Final = "SAM_LICENSE.txt"
REQUIREMENTS: Final = "requirements.txt"


def build_artifact(
    request: BuildRequest, out: Path, progress: Progress, *, store: Store | None = None, jobs: int | None = None
) -> Path:
    """Builds what ``request`` asks for into the folder ``out``, which is complete or as it was before.

    Args:
        request: its ``components`` and ``until`` do not matter: an artifact has those of `linked_components`.
        out: an artifact there is replaced. One build at a time works on it; another waits.
        progress: is told what happens.
        store: as for `sam3port.build.components.build`.
        jobs: as for `sam3port.build.components.build`.

    Returns:
        The absolute path of ``out``.

    Raises:
        UsageError: a name or a size is impossible, or ``out`` holds something else.
        UpstreamError: upstream's source is absent or wrong.
        BuildFailed: a stage failed.
        Sam3PortError: something cannot be written.
    """
    request = replace(request, components=linked_components(entries_for(request.traits)), until=Stage.KERNELS)
    out = out.resolve()
    with file_errors(out):
        refuse_to_replace(out)
    plan, keys = prepare(request, progress)
    log = out.with_name(f"{out.name}.build.log")
    with file_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        lock = out.with_name(f".{out.name}.lock")
        with the_only_build(lock, out, progress), store_for(store, out.with_name(f".{out.name}.store")) as kept:
            refuse_to_replace(out)  # the build that this one waited for may have left something
            results = Results(request, plan, keys, None, kept)
            library = _library(results, link_key(request, keys), kept, progress, log, jobs)
            with put_in_place(out) as new:
                _fill(new, results, library, plan)
            kept.clean()
        log.unlink(missing_ok=True)
    return out


def refuse_to_replace(folder: Path) -> None:
    """Raises UsageError when ``folder`` is, or holds, anything but an artifact or nothing: it would be lost."""
    if Path.cwd().resolve().is_relative_to(folder):
        raise UsageError(f"the artifact would take the place of {folder}, the current folder", "give another --out")
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", "give another --out")
    held = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}
    if not held:
        return
    if strange := sorted(held - _files_of_artifact(folder)):
        few = ", ".join(strange[:3]) + (", ..." if len(strange) > 3 else "")
        raise UsageError(
            f"{folder} holds something that is no part of an artifact: {few}",
            "give another --out, or move that away; nothing was changed",
        )


def _files_of_artifact(folder: Path) -> set[str]:
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        return {MANIFEST, *manifest["files"]} if manifest["kind"] == KIND else set()
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _library(results: Results, key: str, store: Store, progress: Progress, log: Path, jobs: int | None) -> Path:
    """Has made what is missing; where the linked library lies in the store."""
    found = store.find(key)
    folder = None if found else store.begin()
    linking = Linking(folder, progress, log) if folder else None
    if failures := make_missing(results, progress, log, jobs, linking):
        raise BuildFailed.of(failures, len(results.keys), log)
    if folder:
        return store.commit(folder, key)
    assert found is not None
    progress.step(Step(MODEL, LINK, State.CACHED))
    return found


def _fill(folder: Path, results: Results, library: Path, plan: Plan) -> None:
    """Everything that belongs to the artifact; the manifest comes last."""
    from sam3port.build.tokenizer import write_tokenizer

    machine = read_machine(library)
    link(library / model_file(machine), folder / model_file(machine))
    for name in results.keys:
        (folder / parameters_file(name)).parent.mkdir(exist_ok=True)
        link(results.folder(name, Stage.PACK) / PARAMETERS, folder / parameters_file(name))
    write_tokenizer(plan.upstream.root / "assets" / "bpe_simple_vocab_16e6.txt.gz", folder / TOKENIZER)
    license_file = plan.upstream.root / "LICENSE"
    if not license_file.is_file():
        raise UpstreamError(f"{plan.upstream.root} has no LICENSE, which has to travel with every copy of sam3")
    shutil.copyfile(license_file, folder / LICENSE)
    (folder / REQUIREMENTS).write_text(requirements(), encoding="utf-8")
    manifest = describe(results.request, plan, machine, folder)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
