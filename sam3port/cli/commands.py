"""The built-in commands, delivered through the public hook like anybody else's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sam3port.hookspecs import hookimpl

if TYPE_CHECKING:
    import click


@hookimpl
def sam3port_commands() -> list[click.Command]:
    # Imported here: `sam3port.install()` registers this plugin too, and has no use for click.
    from sam3port.cli.apply_patches import apply_patches
    from sam3port.cli.bench.command import bench
    from sam3port.cli.build.command import build
    from sam3port.cli.checkpoint import checkpoint
    from sam3port.cli.components import components
    from sam3port.cli.demo.command import demo
    from sam3port.cli.doctor.command import doctor
    from sam3port.cli.patches import patches
    from sam3port.cli.run import run
    from sam3port.cli.segment.command import segment
    from sam3port.cli.serve import serve
    from sam3port.cli.tune.command import tune
    from sam3port.cli.upstream import upstream
    from sam3port.cli.verify.command import verify

    return [
        *(apply_patches, bench, build, checkpoint, components, demo, doctor, patches, run, segment, serve, tune),
        *(upstream, verify),
    ]
