"""The report of a proof end to end: JSON for machines, Markdown and a picture for people."""

from __future__ import annotations

import dataclasses
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from sam3port.placing import replacing
from sam3port.upstream import pin
from sam3port.verify.compact import compact
from sam3port.verify.end_to_end import picture
from sam3port.verify.end_to_end.judge import MAX_BOX_ERROR, MAX_INPUT_ERROR, MIN_IOU, MIN_MEAN_IOU
from sam3port.verify.end_to_end.judge_bfloat16 import Cost
from sam3port.verify.end_to_end.markdown import markdown
from sam3port.verify.end_to_end.photographs import Photograph
from sam3port.verify.end_to_end.prompts import prompts
from sam3port.verify.end_to_end.proof import Proof, found
from sam3port.verify.end_to_end.sides import Side
from sam3port.verify.end_to_end.threshold import MAX_SCORE_ERROR, MIN_GAP
from sam3port.verify.judge_bfloat16 import MAX_RATIO

JSON: Final = "end_to_end_report.json"
MARKDOWN: Final = "END_TO_END_REPORT.md"
PICTURE: Final = "end_to_end.jpg"
SHOWN: Final = ("text", "boxes + + -", "click")
"""Prompts whose answers are drawn, of the first photograph."""


def write_report(proof: Proof, folder: Path, kept: Path, command: str) -> list[Path]:
    """Writes the files, each whole or not at all. The picture is left out when there is nothing to draw.

    Args:
        proof: what was compared.
        folder: where to.
        kept: questions and answers of the proof.
        command: what made them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    answers = _answers(proof, kept)
    (folder / PICTURE).unlink(missing_ok=True)
    if answers:
        picture.draw(answers, folder / PICTURE)
    text = {
        JSON: compact(content(proof, command)),
        MARKDOWN: markdown(proof, command, PICTURE if answers else None),
    }
    for name, written in text.items():
        with replacing(folder / name) as stream:
            stream.write(written.encode())
    return [folder / name for name in (*text, *([PICTURE] if answers else ()))]


def content(proof: Proof, command: str) -> dict[str, Any]:
    """The report as JSON holds it."""
    packages = ("torch", "torchvision", "apache-tvm", "numpy", "pillow", "tokenizers", "sam3port")
    build = {
        name: value
        for name, value in proof.build.as_json().items()
        if name not in {"components", "until", "checkpoint", "base", "upstream", "tuned"}
    }
    build["checkpoint"] = proof.build.checkpoint.name if proof.build.checkpoint else None
    build["base"] = proof.build.base.name if proof.build.base else None
    return {
        "passed": proof.passed,
        "command": command,
        "upstream": pin.COMMIT,
        "build": build,
        "criteria": {
            "min_iou": MIN_IOU,
            "min_mean_iou": MIN_MEAN_IOU,
            "max_box_error_pixels": MAX_BOX_ERROR,
            "max_score_error": MAX_SCORE_ERROR,
            "max_input_error_steps": MAX_INPUT_ERROR,
            "min_gap_at_threshold": MIN_GAP,
        },
        **(_beside_autocast(proof) if proof.autocast else {}),
        "masks_compared": len(proof.ious),
        "mean_iou": proof.mean_iou,
        "machine": f"{platform.system()} {platform.machine()}",
        "versions": {name: version(name) for name in packages},
        "runs": {
            str(side): {"patches": list(outcome.patches), "seconds": round(outcome.seconds, 1)}
            for side, outcome in proof.outcomes.items()
        },
        "failures": [dataclasses.asdict(failure) for failure in proof.failures],
        "results": [verdict.as_json() for verdict in proof.verdicts],
    }


def _beside_autocast(proof: Proof) -> dict[str, Any]:
    """Of an artifact in bfloat16: there the criteria come on top of what autocast costs."""
    return {
        "max_ratio_to_autocast": MAX_RATIO,
        "cost": dataclasses.asdict(Cost.of(proof.verdicts)),
        "cost_of_autocast": dataclasses.asdict(Cost.of(proof.autocast)),
    }


def _answers(proof: Proof, kept: Path) -> list[picture.Answer]:
    compared = {(v.photograph, v.prompt) for v in proof.verdicts}
    first: Photograph = proof.photographs[0]
    asked = [each for each in prompts(first, proof.build.traits, long_text=False) if each.name in SHOWN]
    return [
        (first, each, found(kept, Side.UPSTREAM, first.name, each), found(kept, Side.ARTIFACT, first.name, each))
        for each in asked
        if (first.name, each.name) in compared
    ]
