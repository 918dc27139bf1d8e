"""``sam3port patches``: lists the patches, explains one."""

from __future__ import annotations

import click

from sam3port.cli.options import disable_option
from sam3port.errors import UsageError
from sam3port.patching.patch import Patch


@click.command("patches")
@disable_option
@click.argument("name", required=False)
def patches(disable: tuple[str, ...], name: str | None) -> None:
    """List the patches, or explain the patch NAME."""
    from sam3port.plugins import load_plugins, switched_off

    off = switched_off(disable)
    plugins = load_plugins(off)
    known, disabled = plugins.patches(), plugins.select(off)
    if name is None:
        _list(known, disabled, plugins.origins())
        return
    if name not in known:
        raise UsageError(f"there is no patch named {name}", f"the patches are {', '.join(known)}")
    _explain(known[name], name in disabled, plugins.origins()[name])


def _list(known: dict[str, Patch], disabled: frozenset[str], origins: dict[str, str]) -> None:
    from rich.table import Table

    from sam3port.cli.console import output

    table = Table()
    table.add_column("patch", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("from", no_wrap=True)
    table.add_column("what it does")
    for patch in known.values():
        state = "[yellow]off[/]" if patch.name in disabled else "on"
        table.add_row(patch.name, patch.kind, state, _origin(patch, origins[patch.name]), patch.summary)
    output().print(table)


def _origin(patch: Patch, plugin: str) -> str:
    return "sam3port" if plugin == patch.name else plugin


def _explain(patch: Patch, disabled: bool, plugin: str) -> None:
    from rich.text import Text

    from sam3port.cli.console import output

    console = output()
    state = "off" if disabled else "on"
    console.print(Text(f"{patch.name} ({patch.kind}, {state}, from {_origin(patch, plugin)})", style="bold"))
    rows = {
        "what": patch.summary,
        "why": patch.reason,
        "upstream": patch.upstream,
        "retire when": patch.retire_when,
    }
    for label, text in rows.items():
        console.print(Text.assemble((f"  {label:12} ", "cyan"), text))
    if patch.prepare is not None:
        console.print(Text.assemble(("  prepares     ", "cyan"), "runs before upstream's first module executes"))
    for edit in patch.edits:
        console.print(Text.assemble(("  edits        ", "cyan"), f"{edit.module}:{edit.symbol or '(module level)'}"))
    if patch.edits:
        console.print(Text(f"  `sam3port apply-patches --diff {patch.name}` shows the text", style="dim"))
