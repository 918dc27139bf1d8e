"""Applies every enabled patch for real: imports the modules that they edit in a fresh interpreter.

``python -m sam3port.patching.trial FILE`` is the fresh interpreter's side; it writes JSON to FILE, because what
upstream prints while it is imported goes to the standard streams.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from sam3port import children
from sam3port.errors import PatchError
from sam3port.patching.install import install, make_plan
from sam3port.patching.patch import Patch
from sam3port.patching.plan import PACKAGE, Plan
from sam3port.plugins import load_plugins, switched_off


class State(StrEnum):
    """What became of a patch."""

    APPLIED = "applied"
    OFF = "off"
    NOT_NEEDED = "not needed here"
    DRIFT = "drift"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row of the table of ``sam3port apply-patches``."""

    patch: Patch
    state: State
    reason: str

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.patch.name,
            "kind": str(self.patch.kind),
            "state": str(self.state),
            "modules": list(self.patch.modules),
            "edits": len(self.patch.edits),
            "reason": self.reason,
        }


def try_patches(
    upstream: Path | None, disable: Iterable[str] = (), report: Callable[[str], None] = lambda _: None
) -> tuple[Plan, list[Outcome]]:
    """Applies the patches in a fresh interpreter and tells what became of each, in the order of their names.

    Args:
        upstream: a checkout of the user's, None for the pinned one.
        disable: names to switch off besides those of the environment.
        report: gets a line about each step.

    Raises:
        UpstreamError: the source is absent or wrong.
        PatchError: the fresh interpreter died.
    """
    off = switched_off(disable)
    plan = make_plan(upstream, off)
    drifts = {drift.patch: drift for drift in reversed(plan.drifts())}
    report(f"importing {len(plan.edited_modules())} patched modules in a fresh interpreter")
    # Without those that drift, of which the first would stop every import: what became of the others shows.
    tried = off | drifts.keys()
    trial = _fresh_interpreter(upstream, tried) if plan.patches else {"errors": {}, "executed": {}, "prepared": {}}
    outcomes = []
    for patch in load_plugins(off).patches().values():
        if patch.name in plan.disabled:
            outcomes.append(Outcome(patch, State.OFF, "switched off"))
        elif patch.name in plan.not_needed:
            outcomes.append(Outcome(patch, State.NOT_NEEDED, plan.not_needed[patch.name]))
        elif patch.name in drifts:
            drift = drifts[patch.name]
            outcomes.append(Outcome(patch, State.DRIFT, f"{drift.where}: {drift.verdict}: {drift.detail}"))
        else:
            outcomes.append(_tried(patch, trial))
    return plan, outcomes


def _tried(patch: Patch, trial: dict[str, Any]) -> Outcome:
    for module in (PACKAGE, *patch.modules):
        if module in trial["errors"]:
            return Outcome(patch, State.FAILED, f"{module} cannot be imported: {trial['errors'][module]}")
        if module != PACKAGE and patch.name not in trial["executed"].get(module, ()):
            return Outcome(patch, State.FAILED, f"{module} was imported, but not through this patch")
    if patch.prepare is not None:
        if patch.name not in trial["prepared"]:
            return Outcome(patch, State.FAILED, "it had to prepare something before upstream's import, and did not")
        reason = trial["prepared"][patch.name]
        if reason is not None and not patch.edits:
            return Outcome(patch, State.NOT_NEEDED, reason)
    return Outcome(patch, State.APPLIED, patch.summary)


def _fresh_interpreter(upstream: Path | None, off: frozenset[str]) -> dict[str, Any]:
    environment = {"SAM3PORT_DISABLE": ",".join(sorted(off))}
    if upstream is not None:
        environment["SAM3PORT_UPSTREAM"] = str(upstream.expanduser().absolute())
    with tempfile.TemporaryDirectory(prefix="sam3port-") as folder:
        file = Path(folder, "trial.json")
        process = children.run("sam3port.patching.trial", str(file), environment=environment)
        if process.returncode or not file.exists():
            last = (process.stderr.strip().splitlines() or ["(it printed nothing)"])[-1]
            raise PatchError(
                f"the fresh interpreter ended with status {process.returncode}: {last}",
                f"run `{children.command_for_people('sam3port.patching.trial', os.devnull)}` to see all of it",
            )
        result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return result


def _import_all(file: Path) -> None:
    installation = install()
    errors: dict[str, str] = {}
    for module in (PACKAGE, *installation.plan.edited_modules()):
        try:
            importlib.import_module(module)
        except Exception as error:
            problem = getattr(error, "problem", None) or str(error) or "no message"
            errors[module] = f"{type(error).__name__}: {problem.splitlines()[0]}"
    result = {"errors": errors, "executed": installation.executed, "prepared": installation.prepared}
    file.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    _import_all(Path(sys.argv[1]))
