"""The program ``sam3port``: gathers the commands from the plugins and turns errors into one line and a status."""

from __future__ import annotations

import os
import sys
from itertools import pairwise
from typing import Any

import click

import sam3port
from sam3port.cli.surroundings import check_surroundings, fill_standard_streams
from sam3port.errors import Sam3PortError, UsageError
from sam3port.plugins import load_plugins, switched_off


class Commands(click.Group):
    """A group whose commands come from the plugins."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_commands(ctx))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return _commands(ctx).get(cmd_name)


def _commands(ctx: click.Context) -> dict[str, click.Command]:
    return load_plugins(switched_off((ctx.obj or {}).get("disable", ()))).commands()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(sam3port.__version__, prog_name="sam3port")
@click.option("--debug", is_flag=True, envvar="SAM3PORT_DEBUG", help="Show the traceback of an error.")
@click.pass_context
def program(ctx: click.Context, debug: bool) -> None:
    """Meta's SAM 3 ported to Apache TVM: patch, build, verify, segment."""
    settings = ctx.obj or {}
    ctx.obj = {**settings, "debug": debug}
    check_surroundings(ctx.invoked_subcommand or "", settings.get("arguments", ()))


def main(arguments: list[str] | None = None) -> None:
    """Runs the program. Exit status: 0 done, 1 failed, 2 wrong use, 130 interrupted."""
    fill_standard_streams()
    arguments = sys.argv[1:] if arguments is None else arguments
    sys.exit(_run(arguments))


def _run(arguments: list[str]) -> int:
    debug = _wants_debug(arguments)
    try:
        settings = {"disable": _disabled(arguments), "arguments": arguments}
        result: Any = program.main(arguments, prog_name="sam3port", standalone_mode=False, obj=settings)
    except Sam3PortError as error:
        if debug:
            raise
        _complain(error)
        return 2 if isinstance(error, UsageError) else 1
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("sam3port: interrupted", err=True)
        return 130
    except BrokenPipeError:
        # The reader (head, less) went away: no traceback, also not when Python flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        # What no command foresaw: a full disk, a folder that may not be written to, a limit of the system.
        if debug or error.strerror is None or _command(arguments) == "run":  # that is the user's own program
            raise
        files = " -> ".join(str(file) for file in (error.filename, error.filename2) if file is not None)
        _complain(Sam3PortError(f"{files}: {error.strerror}" if files else error.strerror, "--debug shows where"))
        return 1
    return result if isinstance(result, int) else 0


def _wants_debug(arguments: list[str]) -> bool:
    """--debug stands before the command; what comes after may be a script's own."""
    for argument in arguments:
        if not argument.startswith("-"):
            break
        if argument == "--debug":
            return True
    return os.environ.get("SAM3PORT_DEBUG", "").lower() in {"1", "true", "yes", "on"}


def _command(arguments: list[str]) -> str:
    return next((argument for argument in arguments if not argument.startswith("-")), "")


def _disabled(arguments: list[str]) -> list[str]:
    """What the command's --disable will say, before there are commands: a plugin that cannot be loaded may be off."""
    values = [argument.removeprefix("--disable=") for argument in arguments if argument.startswith("--disable=")]
    values += [value for option, value in pairwise(arguments) if option == "--disable"]
    return [name.strip() for value in values for name in value.split(",") if name.strip()]


def _complain(error: Sam3PortError) -> None:
    click.echo(f"sam3port: {error.problem}", err=True)
    if error.remedy:
        click.echo(f"  -> {error.remedy}", err=True)
