"""``sam3port run``: runs one program with upstream patched, in this interpreter."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

import click

from sam3port.cli.options import disable_option, needs, upstream_option
from sam3port.errors import UsageError


@click.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@upstream_option
@disable_option
@click.option("-m", "module", metavar="MODULE", help="Run a module, as `python -m MODULE`.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[SCRIPT.py] [ARGUMENT]...")
@needs("build")
def run(upstream: Path | None, disable: tuple[str, ...], module: str | None, arguments: tuple[str, ...]) -> None:
    """Run SCRIPT.py (or -m MODULE) so that its `import sam3` gives the patched upstream.

    The program's own children (subprocess, multiprocessing) see it too.
    """
    if module is None and not arguments:
        raise UsageError("name a script or -m MODULE", "for example: sam3port run segment.py photo.jpg")
    from sam3port.patching.install import CHILDREN, install
    from sam3port.upstream.source import ensure

    located = ensure(upstream, report=lambda line: click.echo(f"sam3port: {line}", err=True))
    if not located.pinned:
        click.echo(f"sam3port: {located.describe()}", err=True)
    script = None if module is not None else _script(arguments[0])
    _leave_own_folder()
    install(upstream, disable=disable)
    # Children that are not multiprocessing's install the hook at their start: see children/sitecustomize.py.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(CHILDREN), os.environ.get("PYTHONPATH")]))
    if module is not None:
        sys.argv = [module, *arguments]
        _put_first(os.getcwd())  # noqa: PTH109 - as `python -m` does
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    elif script is not None:
        sys.argv = [arguments[0], *arguments[1:]]
        _put_first(str(script.parent))
        runpy.run_path(str(script), run_name="__main__")


def _leave_own_folder() -> None:
    """Takes the folder of the program ``sam3port`` from the path, where Python put it. The user's program has none."""
    own = str(Path(sys.argv[0]).resolve().parent)
    if not sys.flags.safe_path and sys.path[0] == own:
        del sys.path[0]


def _put_first(folder: str) -> None:
    """As Python does, unless it was told not to (-P, PYTHONSAFEPATH)."""
    if not sys.flags.safe_path:
        sys.path.insert(0, folder)


def _script(name: str) -> Path:
    script = Path(name)
    if not script.is_file():
        raise UsageError(f"there is no script {name}")
    return script.resolve()
