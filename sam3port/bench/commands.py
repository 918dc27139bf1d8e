"""Whole commands, as people wait for them: from the start of the process to its end, files included."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from sam3port import children
from sam3port.errors import Sam3PortError

STAGES: Final = ("reading", "encoding", "prompt", "enlarging", "drawing", "writing")
"""What `sam3port segment --json` says about each picture."""


@dataclass(frozen=True)
class CommandRow:
    """What a command took, the median of some runs."""

    command: str
    """``load``, ``segment`` or ``demo``."""
    megapixels: float | None
    objects: int | None
    seconds: float
    """From the start of the process to its end."""
    cpu_s: float
    """Of all its threads, without those of its children."""
    peak_bytes: int
    stages: dict[str, float]
    """Seconds of each of `STAGES`; the rest is starting Python, opening the artifact and ending."""
    runs: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Asked:
    """What is to be measured."""

    artifact: Path
    preset: str
    megapixels: Sequence[float]
    objects: Sequence[int]
    rounds: int
    folder: Path
    """For files of the benchmark."""


def bench_commands(asked: Asked, queries: int, say: Callable[[str], None]) -> list[CommandRow]:
    """Runs all of them one after the other, the whole list ``rounds`` times.

    Args:
        asked: what to measure.
        queries: how many objects the model finds for one text; more objects need more texts.
        say: is told what is going on.

    Raises:
        Sam3PortError: a command failed.
    """
    commands: dict[tuple[str, float | None, int | None], list[str]] = {
        ("load", None, None): ["load", str(asked.artifact)]
    }
    for megapixels in asked.megapixels:
        picture = photograph(megapixels, asked.folder)
        for objects in asked.objects:
            texts = [word for number in range(-(-objects // queries)) for word in ("--text", f"object {number}")]
            kept = ["--threshold", "0", "--max-objects", str(objects), "--json"]
            words = ["segment", str(picture), "--artifact", str(asked.artifact), *texts, *kept]
            commands["segment", megapixels, objects] = [*words, "--out", str(asked.folder / "segmented")]
    if asked.preset == "tiny":
        demo = ["demo", "--preset", "tiny", "--no-verify", "--out", str(asked.folder / "demo")]
        commands["demo", None, None] = demo
    runs: dict[tuple[str, float | None, int | None], list[_Run]] = {each: [] for each in commands}
    for turn in range(asked.rounds + 1):
        for key, words in commands.items():
            say(f"round {turn}: {_named(*key)}")
            run = _run(words, asked.folder)
            if turn:  # the first one fills caches
                runs[key].append(run)
    return [_row(key, those) for key, those in runs.items()]


def photograph(megapixels: float, folder: Path) -> Path:
    """A JPEG of that many pixels, 4 by 3: scikit-image's coffee, enlarged, with a camera's noise."""
    import numpy as np
    import skimage.data
    from PIL import Image

    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = round(height * 4 / 3)
    pixels: Any = skimage.data.coffee()  # type: ignore[no-untyped-call]
    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    noise = np.random.default_rng(0).normal(0, 4, (height, width, 1)).astype(np.float32)
    noisy = np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)
    file = folder / f"photograph-{megapixels:g}.jpg"
    Image.fromarray(noisy).save(file, quality=92)
    return file


@dataclass(frozen=True)
class _Run:
    seconds: float
    cpu_s: float
    peak_bytes: int
    stages: dict[str, float]


def _run(words: Sequence[str], folder: Path) -> _Run:
    file = folder / "took.json"
    started = time.perf_counter()
    ended = children.run("sam3port.cli.bench.measured", str(file), *words)
    seconds = time.perf_counter() - started
    if ended.returncode:
        last = " ".join((ended.stderr.strip() or "it said nothing").splitlines()[-2:])
        raise Sam3PortError(f"sam3port {words[0]} ended with status {ended.returncode}: {last}")
    took = json.loads(file.read_bytes())
    stages = json.loads(ended.stdout)["images"][0]["seconds"] if words[0] == "segment" else {}
    return _Run(seconds, took["cpu_s"], took["peak_bytes"], stages)


def _row(key: tuple[str, float | None, int | None], runs: Sequence[_Run]) -> CommandRow:
    stages = {name: statistics.median(run.stages.get(name, 0.0) for run in runs) for name in STAGES}
    return CommandRow(
        *key,
        seconds=statistics.median(run.seconds for run in runs),
        cpu_s=statistics.median(run.cpu_s for run in runs),
        peak_bytes=round(statistics.median(run.peak_bytes for run in runs)),
        stages=stages if key[0] == "segment" else {},
        runs=len(runs),
    )


def _named(command: str, megapixels: float | None, objects: int | None) -> str:
    return command if megapixels is None else f"{command}, {megapixels:g} megapixels, {objects} objects"
