"""Scores that keep a few objects: ``python -m sam3port.bench.thresholds ARTIFACT PHOTOGRAPH OUT.json``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

import numpy as np

import sam3port
from sam3port.bench.whole import TEXTS

KEPT: Final = 5
"""Objects: about what a photograph has of one kind."""


def main() -> None:
    """Writes a list with one threshold for each of `TEXTS`."""
    artifact, photograph, out = sys.argv[1:]
    image = sam3port.load(artifact).encode_image(photograph)
    chosen = []
    for text in TEXTS:
        model_scores = image.segment(text=text, threshold=0.0).scores
        best = np.sort(model_scores)[::-1]
        chosen.append(float((best[KEPT - 1] + best[KEPT]) / 2) if len(best) > KEPT else 0.0)
    Path(out).write_text(json.dumps(chosen), encoding="utf-8")


if __name__ == "__main__":
    main()
