"""The proof end to end: the same files and prompts through upstream's processor and through the artifact."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sam3port.verify.end_to_end import judge_bfloat16
from sam3port.verify.end_to_end.found import Found
from sam3port.verify.end_to_end.judge import MIN_MEAN_IOU, Verdict, judge, judge_input
from sam3port.verify.end_to_end.photographs import Photograph
from sam3port.verify.end_to_end.prompts import Kind, Prompt, prompts, require
from sam3port.verify.end_to_end.sides import MODULES, Side
from sam3port.verify.precision import PRECISIONS
from sam3port.verify.runs import Failure, Outcome, Processes, Unwatched, Watcher

if TYPE_CHECKING:
    from sam3port.build.request import BuildRequest


@dataclass
class Proof:
    """What was compared, and how it came out."""

    build: BuildRequest
    photographs: tuple[Photograph, ...]
    verdicts: list[Verdict] = field(default_factory=list)
    autocast: list[Verdict] = field(default_factory=list)
    """Of an artifact in bfloat16: upstream under autocast beside upstream in float32, the measure of the others."""
    failures: list[Failure] = field(default_factory=list)
    """What could not be computed, and so not be compared."""
    outcomes: dict[Side, Outcome] = field(default_factory=dict)

    @property
    def ious(self) -> list[float]:
        """Of all masks of upstream's that are neither empty nor all of the picture, which would flatter the mean."""
        return [iou for verdict in self.verdicts for iou in verdict.telling_ious]

    @property
    def mean_iou(self) -> float:
        """Of `ious`; 0 if there are none."""
        return float(np.mean(self.ious)) if self.ious else 0.0

    @property
    def passed(self) -> bool:
        return bool(self.verdicts) and not self.shortcomings

    @property
    def shortcomings(self) -> list[str]:
        """A line for everything that keeps the proof from passing."""
        lines = [*map(str, self.failures), *(str(verdict) for verdict in self.verdicts if not verdict.passed)]
        told = Counter[str]()
        for verdict in self.verdicts:
            if verdict.kind is not Kind.INPUT:
                told[verdict.prompt] += len(verdict.telling_ious)
        lines += [
            f"{prompt}: no photograph has a mask that is neither empty nor all of the picture, which proves nothing"
            for prompt, count in told.items()
            if not count
        ]
        if not self.ious:
            lines.append("no mask was compared that is neither empty nor all of the picture")
        elif PRECISIONS[self.build.dtype].autocast:
            lines += judge_bfloat16.shortcomings(self.verdicts, self.autocast)
        elif not self.mean_iou >= MIN_MEAN_IOU:
            lines.append(f"the mean IoU of {len(self.ious)} masks is {self.mean_iou:.5f}, {MIN_MEAN_IOU} is asked for")
        return lines


def prove(
    build: BuildRequest,
    artifact: Path,
    photographs: Sequence[Photograph],
    folder: Path,
    *,
    watcher: Watcher | None = None,
    runner: Sequence[str] = (),
) -> Proof:
    """Compares the answers, one side after the other, each in a process of its own.

    Args:
        build: whose preset, resolution and weights upstream's model gets.
        artifact: the artifact that answers for the port.
        photographs: with names that differ.
        folder: where questions and answers are kept.
        watcher: is told what happens; upstream comes first.
        runner: the interpreter that opens the artifact, command and first arguments; this one if it is empty.

    Raises:
        UsageError: the build's capacity is less than the prompts need.
        ProofError: a run cannot begin.
    """
    require(build.capacity)
    asked = {each.name: prompts(each, build.traits, long_text=index == 0) for index, each in enumerate(photographs)}
    proof = Proof(build, tuple(photographs))
    more = {"photographs": {each.name: str(each.file.absolute()) for each in photographs}}
    runners = {Side.ARTIFACT: runner} if runner else {}
    processes = Processes(build, artifact, folder, watcher or Unwatched(), MODULES, more, runners)

    def answered(side: Side) -> dict[str, list[Prompt]]:
        """Has the questions answered that are asked now."""
        started = time.perf_counter()
        files = {name: _write(folder / "questions" / side, name, own) for name, own in asked.items() if own}
        outcome = processes.perform(side, files) if files else Outcome()
        outcome.seconds = time.perf_counter() - started
        proof.outcomes[side] = outcome
        titles = {_key(name, prompt): prompt.name for name, own in asked.items() for prompt in own}
        failures = [dataclasses.replace(each, case=titles.get(each.case, "")) for each in outcome.failures]
        proof.failures.extend(failures)
        return {name: own for name, own in asked.items() if name not in {each.component for each in failures}}

    try:
        asked = answered(Side.UPSTREAM)
        asked = {name: [with_threshold(folder, name, each) for each in own] for name, own in asked.items()}
        asked = answered(Side.ARTIFACT)
        if PRECISIONS[build.dtype].autocast:
            asked = answered(Side.AUTOCAST)
    except BaseException:
        processes.end()
        raise
    half = PRECISIONS[build.dtype].autocast
    for photograph in photographs:
        for each in asked.get(photograph.name, []):
            proof.verdicts.append(_compare(folder, photograph, each, half=half))
            if half and each.kind is not Kind.INPUT:
                proof.autocast.append(_compare(folder, photograph, each, Side.AUTOCAST, half=True))
    return proof


def temporary() -> tempfile.TemporaryDirectory[str]:
    """A folder for one proof."""
    return tempfile.TemporaryDirectory(prefix="sam3port-end-to-end-")


def found(folder: Path, side: Side, photograph: str, prompt: Prompt) -> Found:
    """A side's answer, from what its run left."""
    return Found.from_arrays(load(folder, side, photograph, prompt))


def _compare(
    folder: Path, photograph: Photograph, prompt: Prompt, answered: Side = Side.ARTIFACT, *, half: bool = False
) -> Verdict:
    if prompt.kind is Kind.INPUT:
        ours, theirs = (load(folder, side, photograph.name, prompt)["input"] for side in (Side.ARTIFACT, Side.UPSTREAM))
        return judge_input(photograph, ours, theirs)
    mine, its = (found(folder, side, photograph.name, prompt) for side in (answered, Side.UPSTREAM))
    return (judge_bfloat16.compare if half else judge)(photograph, prompt, mine, its)


def with_threshold(folder: Path, photograph: str, prompt: Prompt) -> Prompt:
    """The prompt with the threshold that upstream's run chose."""
    if prompt.kind is not Kind.SEGMENT:
        return prompt
    return dataclasses.replace(prompt, threshold=found(folder, Side.UPSTREAM, photograph, prompt).threshold)


def _key(photograph: str, prompt: Prompt) -> str:
    plain = "".join(c if c.isalnum() else {"+": "p", "-": "m"}.get(c, "-") for c in prompt.name)
    return f"{photograph}--{plain}"


def _write(folder: Path, photograph: str, asked: Sequence[Prompt]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{_key(photograph, prompt)}.npz" for prompt in asked]
    assert len(set(files)) == len(files), "two prompts have names that make the same file"
    for file, prompt in zip(files, asked, strict=True):
        np.savez(file, **prompt.as_arrays())  # type: ignore[arg-type]
    return files


def load(folder: Path, side: Side, photograph: str, prompt: Prompt) -> dict[str, Any]:
    """The arrays of a side's answer."""
    with np.load(folder / side / f"{_key(photograph, prompt)}.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}
