"""Which weights a command works with: options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from sam3port.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

VARIABLE = "SAM3PORT_CHECKPOINT"


def checkpoint_options(function: F) -> F:
    """``--checkpoint FILE`` and ``--base FILE``."""
    for option in (
        click.option(
            "--base",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="The checkpoint that gives what a fine-tuned --checkpoint lacks.",
        ),
        click.option(
            "--checkpoint",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help=f"Weights from a file, a folder or hf:facebook/sam3 (also {VARIABLE}); see docs/weights.md.",
        ),
    ):
        function = option(function)
    return function


def checkpoint_files(
    checkpoint: Path | None, base: Path | None, seed: int | None = None
) -> tuple[Path | None, Path | None]:
    """The files that --checkpoint, or else the environment, and --base mean. Fetches what is on the hub.

    Args:
        checkpoint: as it was given.
        base: the same.
        seed: as it was given; it goes before the environment.

    Raises:
        UsageError: options that exclude each other; a file cannot be fetched.
    """
    if seed is not None and checkpoint is not None:
        raise UsageError("--seed and --checkpoint exclude each other", "give one of them")
    if checkpoint is None and seed is None and (named := os.environ.get(VARIABLE)):
        checkpoint = Path(named)
    if base is not None and checkpoint is None:
        raise UsageError("--base gives what a checkpoint lacks, and there is none", "give --checkpoint, too")
    return _here(checkpoint), _here(base)


def weights_option(usual: str) -> Callable[[F], F]:
    """``--weights demo|seed``, None unless given.

    Args:
        usual: what the command takes where none of its options says it, for its help.
    """
    return click.option(
        "--weights",
        type=click.Choice(["demo", "seed"]),
        help="demo: those that come with sam3port, of the preset tiny, trained on drawn shapes; seed: from --seed, of"
        f" which masks mean nothing. Default: {usual}.",
    )


def chosen_weights(
    weights: str | None, seed: int | None, checkpoint: Path | None, base: Path | None, preset: str, usual: str
) -> tuple[int | None, Path | None, Path | None]:
    """The seed, or the checkpoint, and its base, that the options mean; seed or checkpoint is None.

    Args:
        weights: of `weights_option`.
        seed: of ``--seed``.
        checkpoint: as for `checkpoint_files`.
        base: the same.
        preset: for which demo weights there may be none.
        usual: demo or seed: what is taken where nothing is given. Of a preset without demo weights always the seed.

    Raises:
        UsageError: two are given, or demo weights that there are not; or as `checkpoint_files`.
    """
    from sam3port.model.demo_weights import demo_weights

    given = {"--weights demo": weights == "demo", "--seed": seed is not None, "--checkpoint": checkpoint is not None}
    named = [name for name, is_given in given.items() if is_given]
    if weights == "seed" and checkpoint is not None:
        named = ["--weights seed", "--checkpoint"]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)} exclude each other", "give one of them")
    # What is given by name goes before the environment.
    checkpoint, base = checkpoint_files(checkpoint, base, 0 if weights is not None else seed)
    if checkpoint is not None:
        return None, checkpoint, base
    if weights is None and seed is None:
        weights = usual
        if weights == "demo" and demo_weights(preset) is None:
            weights = "seed"
    if weights == "demo":
        file = demo_weights(preset)
        if file is None:
            raise UsageError(f"there are no demo weights of the preset {preset}", "they are of the preset tiny")
        return None, file, None
    return seed or 0, None, None


def _here(path: Path | None) -> Path | None:
    from sam3port.model.checkpoints.hub import fetch, is_remote, parse

    if path is None or not is_remote(path):
        return path
    return fetch(parse(path.as_posix()), lambda text: click.echo(text, err=True))
