"""``sam3port checkpoint``: what a file with weights is, and what can be built from it."""

from __future__ import annotations

from pathlib import Path

import click

from sam3port.cli.options import needs
from sam3port.cli.weights import checkpoint_files


@click.command("checkpoint")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--base", type=click.Path(path_type=Path), metavar="FILE", help="What --base of build would be given.")
@needs("build")
def checkpoint(file: Path, base: Path | None) -> int:
    """Say what FILE is and what can be built from it. FILE is what --checkpoint of build takes.

    Looks at names, shapes and types alone. Exit status 1 when nothing can be built from it without a --base.
    """
    from sam3port.model.checkpoints.survey import survey

    path, below = checkpoint_files(file, base)
    assert path is not None
    found = survey(path, below)
    functions = {"points": "points as examples", "clicks": "clicks"}
    able = ["text", "boxes", *(meaning for name, meaning in functions.items() if name not in found.lacks)]
    lines = [
        ("what", found.title),
        ("tensors", f"{found.tensors}, {found.dtype}"),
        ("sizes", f"preset {found.preset}" if found.preset else "of no preset"),
    ]
    if below is not None:
        lines.append(("from base", ", ".join(found.from_base) or "nothing"))
    if found.absent:
        lines.append(("absent", f"{', '.join(found.absent)}: give --base FILE"))
    else:
        lines.append(("answers", ", ".join(able)))
        lines += [("no weights", functions[name]) for name in found.lacks]
    lines += [("note", note) for note in found.notes]
    for name, value in lines:
        click.echo(f"{name:<11} {value}")
    return 1 if found.absent else 0
