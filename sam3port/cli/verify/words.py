"""The command that makes a report again, without what is private to this machine."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sam3port.build.request import BuildRequest


def command(request: BuildRequest, components: tuple[str, ...], seeds: int, runner: Sequence[str] = ()) -> str:
    """The command that compares components."""
    return shlex.join(["sam3port", "verify", *components, *words(request, runner), "--seeds", str(seeds)])


def words(request: BuildRequest, runner: Sequence[str] = ()) -> list[str]:
    """The options that ask for the same build, run by ``runner``."""
    asked = ["--preset", request.preset]
    asked += ["--resolution", str(request.resolution)] if request.resolution else []
    asked += ["--target", request.target, "--dtype", request.dtype]
    asked += [word for name, value in request.target_options.items() for word in (f"--{name}", value)]
    asked += ["--checkpoint", request.checkpoint.name] if request.checkpoint else ["--seed", str(request.seed)]
    asked += ["--base", request.base.name] if request.base else []
    for name, usual in (("points", 8), ("boxes", 8), ("prompts", 1)):
        chosen = getattr(request.capacity, name)
        asked += [f"--{name}", str(chosen)] if chosen != usual else []
    if runner:
        public = [Path(word).name if Path(word).is_absolute() else word for word in runner]
        asked += ["--runner", shlex.join(public)]
    return asked + [word for name in request.disable for word in ("--disable", name)]
