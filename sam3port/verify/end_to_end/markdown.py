"""The report of a proof end to end as people read it: a line for each prompt, one for each photograph, and what falls
short."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np

from sam3port.upstream import pin
from sam3port.verify.end_to_end.judge import MAX_BOX_ERROR, MAX_INPUT_ERROR, MIN_IOU, MIN_MEAN_IOU, Verdict
from sam3port.verify.end_to_end.judge_bfloat16 import SLACK, Cost
from sam3port.verify.end_to_end.prompts import Kind
from sam3port.verify.end_to_end.proof import Proof
from sam3port.verify.end_to_end.sides import Side
from sam3port.verify.end_to_end.threshold import MAX_SCORE_ERROR, MIN_GAP, allowed
from sam3port.verify.judge_bfloat16 import MAX_RATIO

COLUMNS: Final = ("objects", "masks", "least IoU", "mean IoU", "box, pixels", "score", "input, steps", "")
"""What `figures` are, over some verdicts: objects that upstream keeps (a click's masks); masks of upstream's that are
neither empty nor all of the picture (of clicks at both resolutions); the least IoU of any; the mean of those masks; the
largest errors."""


def markdown(proof: Proof, command: str, picture: str | None) -> str:
    """The whole page.

    Args:
        proof: what was compared.
        command: what made it.
        picture: the file of the picture, if there is one.
    """
    build = proof.build
    size = f" at {build.resolution} pixels" if build.resolution else ""
    weights = f"weights of {build.checkpoint.name}" if build.checkpoint else f"weights from seed {build.seed}"
    patches = ", ".join(f"`{name}`" for name in proof.outcomes[Side.UPSTREAM].patches)
    compared = [verdict for verdict in proof.verdicts if verdict.kind is not Kind.INPUT]
    gaps = [verdict.gap for verdict in compared if verdict.gap is not None]
    lines = [
        f"# End to end: `{build.preset}`{size} on {build.target}, {build.dtype}",
        "",
        f"**{'Passed' if proof.passed else 'FAILED'}**: {len(compared)} prompts on {len(proof.photographs)}"
        f" photographs, {sum(v.objects for v in compared)} objects; mean IoU {proof.mean_iou:.6f} over"
        f" {len(proof.ious)} masks.",
        "",
        f"The artifact, run by sam3port's runtime, against `Sam3Processor` and `predict_inst` of sam3 at"
        f" `{pin.COMMIT}`, {weights}, with the portability patches only ({patches}). Made by",
        "",
        f"```sh\n{command}\n```",
        "",
        *(_asked_in_bfloat16(proof) if proof.autocast else _asked_in_float32()),
        "Objects are matched by the query that found them, in upstream's order. The threshold of each prompt is the"
        " middle of the widest gap between upstream's scores that keeps 2 to 10 objects; the artifact's scores are not"
        f" looked at. The narrowest of these gaps is {min(gaps, default=math.nan):.1e} ({MIN_GAP:g} is asked for), so"
        f" scores there may differ by {allowed(min(gaps, default=None)):.1e}.",
        "Masks that are empty or all of the picture count for nothing in the mean; a prompt without any other fails."
        " Points are given to upstream's model where its processor has no way in.",
        "",
        *_listed("## What falls short", proof.shortcomings),
        "## By prompt",
        "",
        *_table("prompt", by_prompt(proof)),
        "",
        "## By photograph",
        "",
        *_table("photograph", by_photograph(proof)),
        "",
    ]
    if picture:
        lines += [f"![upstream's answers, the artifact's, and where they differ]({picture})", ""]
    return "\n".join(lines)


def _asked_in_float32() -> list[str]:
    return [
        f"Asked for: the same queries kept, IoU >= {MIN_IOU} of each mask and >= {MIN_MEAN_IOU} on average, boxes"
        f" within {MAX_BOX_ERROR} pixels, scores within {MAX_SCORE_ERROR:g} and a quarter of the gap around the"
        f" threshold, the image encoder's input within {MAX_INPUT_ERROR:g} of 255 steps."
    ]


def _asked_in_bfloat16(proof: Proof) -> list[str]:
    ours, theirs = Cost.of(proof.verdicts), Cost.of(proof.autocast)
    return [
        f"Asked for: at most {MAX_RATIO:g} times what upstream itself loses under PyTorch's bfloat16 autocast, beside"
        " upstream in float32 at the same thresholds, and what float32 is allowed (IoU"
        f" {SLACK.mean_iou_lost:g} on average and {SLACK.most_iou_lost:g} of a mask, boxes {SLACK.box:g} pixels, scores"
        f" {SLACK.score:g}); the image encoder's input within {MAX_INPUT_ERROR:g} of 255 steps. A query that only one"
        " side keeps has to be that near to the threshold by upstream's score.",
        "",
        "| lost in bfloat16 | the artifact | upstream under autocast |",
        "|---|--:|--:|",
        f"| mean IoU | {ours.mean_iou_lost:.5f} | {theirs.mean_iou_lost:.5f} |",
        f"| IoU of a mask, at most | {ours.most_iou_lost:.4f} | {theirs.most_iou_lost:.4f} |",
        f"| a box, pixels at most | {ours.box:.3f} | {theirs.box:.3f} |",
        f"| a score, at most | {ours.score:.1e} | {theirs.score:.1e} |",
        f"| an object that one side alone keeps, from the threshold | {ours.stray:.1e} | {theirs.stray:.1e} |",
        "",
    ]


def by_prompt(proof: Proof) -> dict[str, list[Verdict]]:
    """The verdicts of each prompt over all photographs."""
    return _grouped((v for v in proof.verdicts if v.kind is not Kind.INPUT), lambda v: v.prompt)


def by_photograph(proof: Proof) -> dict[str, list[Verdict]]:
    """The verdicts of each photograph, its input tensor among them."""
    return _grouped(proof.verdicts, lambda v: f"{v.photograph}, {v.size[0]}x{v.size[1]}")


def _grouped(verdicts: Iterable[Verdict], name: Callable[[Verdict], str]) -> dict[str, list[Verdict]]:
    groups: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault(name(verdict), []).append(verdict)
    return groups


def figures(verdicts: list[Verdict]) -> tuple[str, ...]:
    """The worst of some verdicts, as `COLUMNS` names it."""
    ious = [iou for verdict in verdicts for iou in verdict.ious]
    telling = [iou for verdict in verdicts for iou in verdict.telling_ious]
    return (
        str(sum(v.objects for v in verdicts)),
        str(len(telling)),
        f"{min(ious, default=math.nan):.5f}",
        f"{np.mean(telling):.6f}" if telling else "nan",
        f"{max(v.box_error for v in verdicts):.4f}",
        f"{max(v.score_error for v in verdicts):.1e}",
        f"{max(v.input_error for v in verdicts):.0f}",
        "pass" if all(v.passed for v in verdicts) else "FAIL",
    )


def _table(title: str, groups: dict[str, list[Verdict]]) -> list[str]:
    lines = [f"| {title} | " + " | ".join(COLUMNS) + " |", "|---|" + "--:|" * (len(COLUMNS) - 1) + "---|"]
    for name, verdicts in groups.items():
        cells = [cell if cell != "FAIL" else "**FAIL**" for cell in figures(verdicts)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _listed(heading: str, items: list[str]) -> list[str]:
    return [heading, "", *(f"- {item}" for item in items), ""] if items else []
