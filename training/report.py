"""The report about the weights: tables, pictures, and how the losses fell."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sam3port.demo.scenes import UNSEEN_PHOTOGRAPHS
from sam3port.runtime.draw import overlay
from sam3port.runtime.masks.region import known
from training.answers import THRESHOLD, Found
from training.click_run import LOG as CLICK_LOG
from training.click_run import WATCHED
from training.evaluate import LEAST_IOU, SCALE, Case, Clicked, Tally
from training.questions import VISUAL, Click, Question
from training.record import steps_of
from training.run import LOG

TABLE: Final = "DEMO_WEIGHTS.md"
FIGURES: Final = "demo_weights.json"
SHEET: Final = "answers.jpg"
PLOT: Final = "losses.png"
CLICK_PLOT: Final = "clicks.png"
_SHOWN: Final = 8
"""Scenes of the sheet, one column each."""
_MARGIN: Final = 16
_COLUMNS: Final = ("questions", "objects", "recall", "mean IoU of found", "precision", "presence right")
_ABOUT: Final = ("commit", "recipe", "step", "clicks commit", "clicks recipe", "clicks step")
_GOALS: Final = {"recall": 0.9, "mean IoU of found": 0.85, "presence right": 0.95}


def write_tables(
    folder: Path,
    about: Mapping[str, str],
    tallies: Mapping[str, Mapping[str, Tally]],
    clicked: Mapping[str, Clicked],
    agreements: Mapping[str, tuple[int, int]],
    scenes: int,
    command: str,
) -> list[Path]:
    """
    Args:
        folder: where the report lies.
        about: what the weights say about themselves.
        tallies: by who answered, then by kind of question.
        clicked: by who answered.
        agreements: of each artifact, how many objects it shares with upstream, of how many.
        scenes: how many were asked about.
        command: that made this.
    """
    figures = {who: {kind: tally.as_json() for kind, tally in by.items()} for who, by in tallies.items()}
    content = {
        "weights": {name: about[name] for name in _ABOUT},
        "scenes": scenes,
        "command": command,
        "figures": figures,
        "clicks": {who: counted.as_json() for who, counted in clicked.items()},
        "agreement": {who: {"same": same, "of": of} for who, (same, of) in agreements.items()},
    }
    (folder / FIGURES).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (folder / TABLE).write_text("\n".join(_markdown(content)), encoding="utf-8")
    return [folder / FIGURES, folder / TABLE]


def _markdown(content: Mapping[str, Any]) -> list[str]:
    weights = content["weights"]
    lines = [
        "# The weights that come with sam3port",
        "",
        f"A model of the preset `tiny`, trained by `python -m training train` (commit `{weights['commit']}`,"
        f" {weights['step']} steps; clicks: commit `{weights['clicks commit']}`, {weights['clicks step']} steps),"
        f" asked about {content['scenes']} scenes that training has not seen: drawn by other random numbers, on"
        f" photographs that training does not use ({', '.join(UNSEEN_PHOTOGRAPHS)}), {SCALE} times as large as what the"
        f" model takes. Made by `{content['command']}`.",
        "",
        f"An object is *found* when the best mask with a score above {THRESHOLD} has an IoU of at least {LEAST_IOU}"
        " with it; *recall* is the part of objects found, *mean IoU* that of those; *precision* is the part of such"
        " masks that are an object that fits; *presence right* is how often there was one exactly when something fits."
        " A click is answered by the mask that the model thinks best, whatever its score. Goals: "
        + ", ".join(f"{name} {value}" for name, value in _GOALS.items())
        + "; below them figures are in italics.",
        "",
        f"![what was asked and found in the first {_SHOWN} scenes]({SHEET})",
        "",
    ]
    for who, kinds in content["figures"].items():
        lines += [f"## {who}", "", "| asked by | " + " | ".join(_COLUMNS) + " |"]
        lines += ["|---" + "|---:" * len(_COLUMNS) + "|"]
        for kind, values in kinds.items():
            lines.append(f"| {kind} | " + " | ".join(_figure(name, values[name]) for name in _COLUMNS) + " |")
        lines.append("")
    lines += ["## One point, and two more where the answer is most wrong", ""]
    lines += [
        "The mean IoU is that of all clicks, found or not. Scores are the IoU that the model says of its mask.",
        "",
    ]
    lines += ["| | " + " | ".join(content["clicks"]) + " |", "|---" + "|---:" * len(content["clicks"]) + "|"]
    for name in next(iter(content["clicks"].values())):
        lines.append(f"| {name} | " + " | ".join(_figure(name, by[name]) for by in content["clicks"].values()) + " |")
    lines += ["", "## Agreement with upstream in PyTorch", ""]
    lines += ["An object agrees when both sides have it: the same query, IoU at least 0.95, score within 0.025.", ""]
    for who, values in content["agreement"].items():
        share = values["same"] / max(values["of"], 1)
        lines.append(f"- {who}: {values['same']} of {values['of']} ({share:.2%})")
    return [*lines, "", f"![losses]({PLOT})", "", f"![losses of clicks]({CLICK_PLOT})", ""]


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return ""
    text = str(value) if isinstance(value, int) else f"{value:.3f}"
    return f"*{text}*" if value < _GOALS.get(name, 0) else text


def write_sheet(file: Path, cases: Sequence[Case], answers: Sequence[Found]) -> None:
    """A picture: each column a scene, each row a question or click about it, with what was found.

    Args:
        file: to write.
        cases: the first of them are shown.
        answers: of all questions and clicks of all cases, in their order.
    """
    each = len(cases[0].questions) + len(cases[0].clicks)
    side = len(cases[0].scene.pixels)
    columns = min(_SHOWN, len(cases))
    sheet = Image.new("RGB", (columns * side, each * (side + _MARGIN)), "white")
    artist, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for column, case in enumerate(cases[:columns]):
        for row, asked in enumerate((*case.questions, *case.clicks)):
            found = answers[column * each + row]
            masks, scores = found.masks, found.scores
            if isinstance(asked, Click):
                best = [int(np.argmax(scores))]
                masks, scores = masks[best], scores[best]
            shown = overlay(case.scene.pixels, known(masks), [f"{score:.2f}" for score in scores])
            _mark(shown, asked)
            sheet.paste(shown, (column * side, row * (side + _MARGIN) + _MARGIN))
            artist.text((column * side + 3, row * (side + _MARGIN) + 2), _said(asked), "black", font)
    sheet.save(file, quality=85)


def _said(asked: Question | Click) -> str:
    if isinstance(asked, Click):
        return "click" if asked.box is None else "click, box"
    if asked.text != VISUAL:
        return f"{asked.text}, but not this" if asked.boxes else asked.text
    return "like this box" if asked.boxes else "like this point"


def _mark(picture: Image.Image, asked: Question | Click) -> None:
    """What was pointed at: green for what is wanted, red for what is not."""
    artist = ImageDraw.Draw(picture)
    if isinstance(asked, Question):
        boxes = list(zip(asked.boxes, asked.box_labels, strict=True))
        points = list(zip(asked.points, asked.point_labels, strict=True))
    else:
        boxes = [] if asked.box is None else [(asked.box, True)]
        points = list(zip(asked.points, asked.labels, strict=True))
    for box, wanted in boxes:
        artist.rectangle(box, outline="lime" if wanted else "red", width=2)
    for (x, y), wanted in points:
        artist.ellipse((x - 4, y - 4, x + 4, y + 4), fill="lime" if wanted else "red", outline="black")


def plot_losses(run: Path, folder: Path) -> None:
    """How the losses of a run fell, and what the watched scenes said: a picture for each log that the run has.

    Args:
        run: its folder.
        folder: of the report.
    """
    if (run / LOG).exists():
        names = {"recall": "recall", "iou": "iou", "precision": "precision", "measured presence": "presence"}
        losses = ["pixels", "score", "giou", "presence", "dice", "click", "tokens"]
        _plot(steps_of(run / LOG), losses, names, "192 questions about watched scenes", folder / PLOT)
    if (run / CLICK_LOG).exists():
        kinds = [f"{kind}, {what}" for kind in WATCHED for what in ("right", "IoU")]
        names = {name: name for name in (*kinds, "corrected, IoU", "corrected, obeyed")}
        losses = ["click", "click_iou", "click_object", "marks", "obeyed"]
        _plot(steps_of(run / CLICK_LOG), losses, names, "clicks on watched scenes", folder / CLICK_PLOT)


def _plot(
    steps: Sequence[Mapping[str, Any]], losses: Sequence[str], measures: Mapping[str, str], title: str, file: Path
) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for name in losses:
        at = [step["step"] for step in steps if name in step]
        values = np.array([step[name] for step in steps if name in step])
        if len(at) < 2:
            continue
        width = max(len(at) // 100, 1)
        smooth = np.convolve(values, np.ones(width) / width, "valid")
        left.plot(at[width - 1 :], smooth / smooth[0], label=name, linewidth=1)
    left.set(xlabel="step", ylabel="loss, relative to its first", yscale="log")
    for name, label in measures.items():
        there = [step for step in steps if name in step]
        right.plot([step["step"] for step in there], [step[name] for step in there], label=label, linewidth=1)
    right.set(xlabel="step", ylim=(0, 1), title=title)
    for axes in (left, right):
        axes.legend(fontsize=7)
        axes.grid(alpha=0.3)
    figure.savefig(file, dpi=90)
