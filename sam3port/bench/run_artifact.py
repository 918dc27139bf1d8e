"""The artifact, through the public runtime: ``python -m sam3port.bench.run_artifact REQUEST.json``."""

from __future__ import annotations

import itertools
import sys
from typing import Any

import sam3port
from sam3port.bench.child import Opened, serve
from sam3port.verify.child import Outputs

_NOT_NEEDED = ("torch", "torchvision", "sam3", "scipy", "skimage", "matplotlib", "timm")


def opened(request: dict[str, Any]) -> Opened:
    """The artifact, and an answer for each new text."""
    sys.modules.update(dict.fromkeys(_NOT_NEEDED))  # type: ignore[arg-type]  # TVM would import torch where it is
    model = sam3port.load(request["artifact"], threads=request["threads"])
    asked = itertools.cycle(zip(request["texts"], request["thresholds"], strict=True))
    seen: list[Any] = []

    def image() -> Any:
        seen[:] = [model.encode_image(request["photograph"])]

    def prompt() -> Any:
        text, threshold = next(asked)
        model.forget_texts()
        return seen[0].segment(text=text, threshold=threshold)

    def outputs(work: str, result: Any) -> Outputs:
        return {"scores": result.scores, "boxes": result.boxes} if work == "prompt" else {}

    return Opened({"image": image, "prompt": prompt}, outputs)


if __name__ == "__main__":
    serve(opened)
