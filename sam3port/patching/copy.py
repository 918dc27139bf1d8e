"""A patched copy of upstream on disk, for people who want to read or step through what runs."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Final

from sam3port.errors import UpstreamError, UsageError
from sam3port.patching.plan import PACKAGE, Plan

LICENSE: Final = "LICENSE"
"""The SAM License; it has to travel with every copy (its section 1.b.i)."""

MARK: Final = "SAM3PORT_PATCHED.txt"


def write_patched_copy(plan: Plan, destination: Path) -> list[str]:
    """Writes upstream with the plan's patches: ``sam3/``, ``assets/``, LICENSE and a note of what was changed.

    The copy appears whole or not at all. It still calls sam3port's replacement functions, so sam3port has to be
    importable where it runs; patches that prepare something at import time do so only under the import hook.

    Returns:
        The changed files, relative to ``destination``.

    Raises:
        UsageError: ``destination`` exists and is neither empty nor an earlier copy, or cannot be written.
        UpstreamError: upstream has no LICENSE.
        PatchDrift: an edit does not match.
    """
    _refuse_foreign(destination)
    plan.require()
    if not (plan.upstream.root / LICENSE).is_file():
        raise UpstreamError(f"{plan.upstream.root} has no {LICENSE}, which has to travel with every copy of sam3")
    changed: list[str] = []
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{destination.name}-", dir=destination.parent))
    except OSError as error:
        raise UsageError(f"{destination} cannot be written: {error.strerror}") from None
    try:
        for file in sorted((plan.upstream.root / PACKAGE).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                changed += _copy_file(plan, file, aside)
        vocabulary = plan.upstream.root / "assets" / "bpe_simple_vocab_16e6.txt.gz"
        if vocabulary.is_file():  # later commits of upstream have it in the package
            (aside / "assets").mkdir()
            shutil.copyfile(vocabulary, aside / "assets" / vocabulary.name)
        shutil.copyfile(plan.upstream.root / LICENSE, aside / LICENSE)
        (aside / MARK).write_text(_note(plan, changed), encoding="utf-8")
        aside.chmod(0o755)
        _put_in_place(aside, destination)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return changed


def _copy_file(plan: Plan, file: Path, aside: Path) -> list[str]:
    relative = file.relative_to(plan.upstream.root)
    target = aside / relative
    target.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".py":
        module = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
        if plan.edits(module):
            target.write_text(plan.patched(module, plan.pristine(module) or ""), encoding="utf-8", newline="\n")
            return [relative.as_posix()]
        plan.upstream.check(relative.as_posix(), file.read_bytes())
    shutil.copyfile(file, target)
    return []


def _note(plan: Plan, changed: list[str]) -> str:
    names = "\n".join(f"- {patch.name}: {patch.summary}" for patch in plan.patches)
    files = "\n".join(f"- {name}" for name in changed)
    return (
        f"facebookresearch/sam3 at {plan.upstream.commit}, under the SAM License (LICENSE), changed by sam3port.\n\n"
        f"Patches:\n{names}\n\nChanged files:\n{files}\n"
    )


def _refuse_foreign(destination: Path) -> None:
    if not destination.exists():
        return
    if not destination.is_dir():
        raise UsageError(f"{destination} is a file", "name a folder")
    if any(destination.iterdir()) and not (destination / MARK).is_file():
        raise UsageError(
            f"{destination} holds files that sam3port did not write",
            "name an empty folder or one that does not exist",
        )


def _put_in_place(aside: Path, destination: Path) -> None:
    if not destination.exists():
        aside.rename(destination)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{destination.name}-old-", dir=destination.parent)) / "copy"
    destination.rename(old)
    try:
        aside.rename(destination)
    except OSError:
        old.rename(destination)
        raise
    finally:
        shutil.rmtree(old.parent, ignore_errors=True)
