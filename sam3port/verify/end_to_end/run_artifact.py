"""The artifact's answers, in a fresh interpreter: ``python -m sam3port.verify.end_to_end.run_artifact REQUEST.json``.

Through the public runtime, as a user's program does it.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

import sam3port
from sam3port.verify.child import Compute, Computing, Outputs
from sam3port.verify.end_to_end.found import Found
from sam3port.verify.end_to_end.prompts import Kind, Prompt

if TYPE_CHECKING:
    from sam3port.runtime.encoded import EncodedImage
    from sam3port.runtime.model import Model

_NOT_HERE: Final = ("torch", "torchvision", "sam3", "scipy", "skimage", "matplotlib", "timm")
"""What a machine that only runs artifacts does not have: here, too, importing it fails. TVM takes torch if it can."""


def main() -> None:
    """Computes what the request names (see `sam3port.verify.runs`)."""
    assert not set(_NOT_HERE) & set(sys.modules)
    sys.modules.update(dict.fromkeys(_NOT_HERE))  # type: ignore[arg-type]
    child = Computing()
    warnings.filterwarnings("ignore", message="the text is longer")
    model = sam3port.load(child.request["built"])
    child.compute(lambda name: ready(model, Path(child.request["photographs"][name])))


def ready(model: Model, file: Path) -> Compute:
    """Encodes a photograph; the result answers prompts about it."""
    from sam3port.runtime.picture import model_input

    image = model.encode_image(file)

    def compute(inputs: Outputs) -> Outputs:
        prompt = Prompt.from_arrays(inputs)
        if prompt.kind is Kind.INPUT:
            return {"input": model_input(image.pixels, model.manifest.sizes.image_size)}
        return (_click(prompt, image) if prompt.kind is Kind.CLICK else _segment(prompt, image)).as_arrays()

    return compute


def _segment(prompt: Prompt, image: EncodedImage) -> Found:
    assert prompt.threshold is not None
    result = image.segment(
        text=prompt.text,
        boxes=prompt.boxes,
        box_labels=prompt.box_labels,
        points=prompt.points,
        point_labels=prompt.point_labels,
        threshold=prompt.threshold,
    )
    return Found(masks=result.masks, scores=result.scores, queries=result.queries, boxes=result.boxes)


def _click(prompt: Prompt, image: EncodedImage) -> Found:
    earlier = None
    if prompt.again:
        earlier = image.click(points=prompt.points[:1], point_labels=prompt.point_labels[:1]).logits[0]
    clicked = image.click(
        points=prompt.points,
        point_labels=prompt.point_labels,
        box=prompt.boxes[0] if prompt.boxes else None,
        mask=earlier,
        multimask=prompt.multimask,
    )
    return Found(
        masks=clicked.masks, scores=clicked.scores, queries=np.arange(len(clicked.masks)), logits=clicked.logits
    )


if __name__ == "__main__":
    main()
