"""The built-in commands, delivered through the public hook like anybody else's."""

from __future__ import annotations

import click

from sam3port.cli.apply_patches import apply_patches
from sam3port.cli.doctor import doctor
from sam3port.cli.patches import patches
from sam3port.cli.run import run
from sam3port.cli.upstream import upstream
from sam3port.hookspecs import hookimpl


@hookimpl
def sam3port_commands() -> list[click.Command]:
    return [apply_patches, doctor, patches, run, upstream]
