"""``sam3port apply-patches``: applies the patches for real and says what became of each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sam3port.cli.options import disable_option, upstream_option
from sam3port.errors import UsageError

if TYPE_CHECKING:
    from sam3port.patching.plan import Plan
    from sam3port.patching.trial import Outcome
    from sam3port.upstream.source import Upstream


@click.command("apply-patches")
@upstream_option
@disable_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@click.option("--diff", "diff", is_flag=True, help="Print what the patches change, as a unified diff ([NAME]... only).")
@click.option(
    "--write",
    "write",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write a patched copy of upstream.",
)
@click.option("--activate", is_flag=True, help="Make `import sam3` patched in this environment, for every interpreter.")
@click.option("--deactivate", is_flag=True, help="Undo --activate.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
def apply_patches(
    upstream: Path | None,
    disable: tuple[str, ...],
    as_json: bool,
    diff: bool,
    write: Path | None,
    activate: bool,
    deactivate: bool,
    names: tuple[str, ...],
) -> int:
    """Make sure that upstream is there, and apply every enabled patch in a fresh interpreter.

    Exit status 0 only if all that is enabled applied. Names are for --diff.
    """
    if sum((diff, write is not None, activate, deactivate)) > 1:
        raise UsageError("--diff, --write, --activate and --deactivate exclude each other")
    if names and not diff:
        raise UsageError("names of patches go with --diff", "use --disable NAME to leave a patch out")
    if deactivate:
        return _deactivate()
    from sam3port.machine.packages import BUILD, require
    from sam3port.upstream.source import ensure

    if not diff and write is None:
        require(BUILD, "sam3port apply-patches")
    located = ensure(upstream, report=_to_stderr)
    if not located.pinned:
        _to_stderr(located.describe())
    if diff:
        return _print_diff(upstream, disable, names)
    if write is not None:
        return _write(upstream, disable, write)
    failed = _apply(located, upstream, disable, as_json)
    if activate:
        if failed:
            _to_stderr("not activated: not every enabled patch applied")
            return 1
        from sam3port.patching.activate import activate as activate_environment

        file = activate_environment(upstream, disable)
        _to_stderr(f"activated: `import sam3` is patched in this environment ({file}); --deactivate undoes it")
    return 1 if failed else 0


def _apply(located: Upstream, upstream: Path | None, disable: tuple[str, ...], as_json: bool) -> bool:
    """Prints what became of every patch; returns whether one that is enabled did not apply."""
    from sam3port.cli.console import messages
    from sam3port.patching.trial import State, try_patches

    errors = messages()
    with errors.status("reading the patches") as status:
        plan, outcomes = try_patches(upstream, disable, report=status.update)
    if as_json:
        source = {
            "root": str(located.root),
            "origin": located.origin,
            "commit": located.commit,
            "pinned": located.pinned,
        }
        click.echo(json.dumps({"upstream": source, "patches": [o.as_json() for o in outcomes]}, indent=2))
    else:
        _print_table(plan, outcomes)
    return any(outcome.state in {State.DRIFT, State.FAILED} for outcome in outcomes)


def _print_table(plan: Plan, outcomes: list[Outcome]) -> None:
    from rich.table import Table
    from rich.text import Text

    from sam3port.cli.console import output
    from sam3port.cli.style import STATE_STYLE

    table = Table(title=plan.upstream.describe(), title_justify="left", title_style="bold")
    table.add_column("patch", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("edits", justify="right")
    table.add_column("modules", justify="right")
    table.add_column("state", no_wrap=True)
    table.add_column("why")
    for outcome in outcomes:
        patch = outcome.patch
        state = Text(outcome.state, style=STATE_STYLE[outcome.state])
        counts = (str(len(patch.edits)), str(len(patch.modules)))
        table.add_row(patch.name, patch.kind, *counts, state, Text(outcome.reason))
    console = output()
    console.print(table)
    told = {str(state): sum(o.state == state for o in outcomes) for state in dict.fromkeys(o.state for o in outcomes)}
    console.print(", ".join(f"{count} {state}" for state, count in told.items()))


def _print_diff(upstream: Path | None, disable: tuple[str, ...], names: tuple[str, ...]) -> int:
    from sam3port.patching.diff import unified_diffs
    from sam3port.patching.install import make_plan
    from sam3port.plugins import load_plugins, switched_off

    off = switched_off(disable)
    known = load_plugins(off).patches()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"there is no patch named {', '.join(unknown)}", f"the patches are {', '.join(known)}")
    plan = make_plan(upstream, off)
    for text in unified_diffs(plan, frozenset(names) or None):
        click.echo(text, nl=False)
    for name in names:
        if name in plan.disabled:
            _to_stderr(f"{name} is switched off")
        elif name in plan.not_needed:
            _to_stderr(f"{name} is not needed here: {plan.not_needed[name]}")
        elif not known[name].edits:
            _to_stderr(f"{name} edits no source: {known[name].summary}")
    return 0


def _write(upstream: Path | None, disable: tuple[str, ...], destination: Path) -> int:
    from sam3port.patching.copy import write_patched_copy
    from sam3port.patching.install import make_plan
    from sam3port.plugins import switched_off

    changed = write_patched_copy(make_plan(upstream, switched_off(disable)), destination)
    click.echo(f"{destination}: a copy of upstream with {len(changed)} patched files, and its LICENSE")
    return 0


def _deactivate() -> int:
    from sam3port.patching.activate import deactivate

    _to_stderr("deactivated: `import sam3` is no longer patched here" if deactivate() else "it was not active here")
    return 0


def _to_stderr(line: str) -> None:
    click.echo(f"sam3port: {line}", err=True)
