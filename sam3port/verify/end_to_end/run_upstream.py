"""Upstream's answers, in a fresh interpreter: ``python -m sam3port.verify.end_to_end.run_upstream REQUEST.json``.

In float32, or under PyTorch's bfloat16 autocast when the request's run is `Side.AUTOCAST`. Its own `Sam3Processor` and
interactive predictor, with the patches without which they do not run here and no other.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam3port.verify.child import Compute, Computing, Outputs
from sam3port.verify.end_to_end.found import Found, telling
from sam3port.verify.end_to_end.photographs import upright
from sam3port.verify.end_to_end.prompts import Box, Kind, Prompt
from sam3port.verify.end_to_end.sides import Side
from sam3port.verify.end_to_end.threshold import Threshold, between
from sam3port.verify.precision import FLOAT32, PRECISIONS


def main() -> None:
    """Computes what the request names (see `sam3port.verify.runs`)."""
    from sam3port.build.request import BuildRequest
    from sam3port.patching.install import install
    from sam3port.verify.run_torch import not_portability

    child = Computing()
    build = BuildRequest.from_json(child.request["build"])
    installation = install(build.upstream, disable=[*build.disable, *not_portability(build.disable)])
    child.say("patches", names=installation.patches)
    import torch

    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    processor = Processor(build)
    precision = PRECISIONS[build.dtype] if child.request["run"] == Side.AUTOCAST else FLOAT32
    with torch.inference_mode(), precision.upstream():
        child.compute(lambda name: processor.ready(Path(child.request["photographs"][name])))


class Processor:
    """`Sam3Processor` (sam3/model/sam3_image_processor.py) with one photograph at a time."""

    def __init__(self, build: Any) -> None:
        from sam3.model.sam3_image_processor import Sam3Processor

        from sam3port.model.build import build_model

        sizes = build.sizes()
        self._model: Any = build_model(sizes, seed=build.seed, checkpoint=build.checkpoint, base=build.base)
        self._processor = Sam3Processor(self._model, resolution=sizes.image_size, device="cpu")
        self._ground = self._model.forward_grounding
        self._model.forward_grounding = self._grounded
        self._transform = self._processor.transform
        self._processor.transform = self._transformed

    def ready(self, file: Path) -> Compute:
        """Encodes a photograph; the result answers prompts about it."""
        image = upright(file)
        state = self._processor.set_image(image)

        def compute(inputs: Outputs) -> Outputs:
            prompt = Prompt.from_arrays(inputs)
            if prompt.kind is Kind.INPUT:
                return {"input": self._input}
            if prompt.kind is Kind.CLICK:
                return self._click(prompt, state).as_arrays()
            return self._segment(prompt, state, image.width, image.height).as_arrays()

        return compute

    def _segment(self, prompt: Prompt, state: Any, width: int, height: int) -> Found:
        import torch

        self._asked = prompt.threshold
        self._processor.reset_all_prompts(state)
        if prompt.text is not None:
            self._processor.set_text_prompt(prompt.text, state)
        for box, label in zip(prompt.boxes, prompt.box_labels, strict=True):
            self._processor.add_geometric_prompt(_relative(box, width, height), label, state)
        if prompt.points:
            # The processor takes no points, the model does: given to it as `add_geometric_prompt` gives boxes.
            if "language_features" not in state["backbone_out"]:
                state["backbone_out"].update(self._model.backbone.forward_text(["visual"], device="cpu"))
            if "geometric_prompt" not in state:
                state["geometric_prompt"] = self._model._get_dummy_prompt()
            points = torch.tensor([[[x / width, y / height]] for x, y in prompt.points])
            state["geometric_prompt"].append_points(points, torch.tensor([[label] for label in prompt.point_labels]))
            self._processor._forward_grounding(state)
        return Found(
            masks=state["masks"][:, 0].numpy(),
            scores=state["scores"].float().numpy(),
            queries=np.flatnonzero(self._scores > self._threshold.value),
            boxes=state["boxes"].float().numpy(),
            threshold=self._threshold.value,
            gap=self._threshold.gap,
            every_score=self._scores,
        )

    def _click(self, prompt: Prompt, state: Any) -> Found:
        points, labels = np.array(prompt.points).reshape(-1, 2), np.array(prompt.point_labels)
        earlier = None
        if prompt.again:
            *_, logits = self._model.predict_inst(state, point_coords=points[:1], point_labels=labels[:1])
            earlier = logits[:1]
        masks, scores, logits = self._model.predict_inst(
            state,
            point_coords=points if len(points) else None,
            point_labels=labels if len(points) else None,
            box=np.array(prompt.boxes[0]) if prompt.boxes else None,
            mask_input=earlier,
            multimask_output=prompt.multimask,
        )
        return Found(masks=masks > 0, scores=scores, queries=np.arange(len(masks)), logits=logits)

    def _transformed(self, image: Any) -> Any:
        """The processor's transform, remembered."""
        tensor = self._transform(image)
        self._input: NDArray[np.float32] = tensor[None].numpy()
        return tensor

    def _grounded(self, **arguments: Any) -> Any:
        """The model's answer; the processor looks at its threshold after it, so this is where it is chosen.

        Unless the prompt has one: then upstream answered in float32 before.
        """
        found = self._ground(**arguments)
        scores = found["pred_logits"].sigmoid() * found["presence_logit_dec"].sigmoid().unsqueeze(1)
        self._scores: NDArray[np.float32] = scores[0, :, 0].float().numpy()
        masks = found["pred_masks"][0].float().numpy() > 0
        chosen = between(self._scores, telling(masks))
        self._threshold: Threshold = chosen if self._asked is None else Threshold(self._asked, chosen.gap)
        self._processor.confidence_threshold = self._threshold.value
        return found


def _relative(box: Box, width: int, height: int) -> list[float]:
    """Centre and size, 0..1, as `add_geometric_prompt` takes it."""
    x0, y0, x1, y1 = box
    return [(x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height]


if __name__ == "__main__":
    main()
