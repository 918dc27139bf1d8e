"""Upstream's own `Sam3Processor`: ``python -m sam3port.bench.run_upstream REQUEST.json``.

With the patches without which it does not run here and no other, as `sam3port verify --end-to-end` does it.
"""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path
from typing import Any

from sam3port.bench.child import Opened, serve
from sam3port.verify.child import Outputs
from sam3port.verify.precision import PRECISIONS


def opened(request: dict[str, Any]) -> Opened:
    """The model with both necks, as the artifact has it, and an answer for each new text."""
    from sam3port.build.request import BuildRequest
    from sam3port.patching.install import install
    from sam3port.verify.end_to_end.photographs import upright
    from sam3port.verify.run_torch import not_portability

    warnings.simplefilter("ignore")
    build = BuildRequest.from_json(request["build"])
    install(build.upstream, disable=[*build.disable, *not_portability(build.disable)])
    import torch
    from sam3.model.sam3_image_processor import Sam3Processor

    from sam3port.model.build import build_model

    torch.set_num_threads(request["threads"])
    torch.manual_seed(0)
    sizes = build.sizes()
    model: Any = build_model(sizes, seed=build.seed, checkpoint=build.checkpoint, base=build.base)
    processor = Sam3Processor(model, resolution=sizes.image_size, device="cpu")
    asked = itertools.cycle(zip(request["texts"], request["thresholds"], strict=True))
    mode = PRECISIONS[build.dtype].upstream
    seen: list[Any] = []

    def image() -> Any:
        with torch.inference_mode(), mode():
            seen[:] = [processor.set_image(upright(Path(request["photograph"])))]

    def prompt() -> Any:
        text, threshold = next(asked)
        processor.confidence_threshold = threshold
        with torch.inference_mode(), mode():
            processor.reset_all_prompts(seen[0])
            return processor.set_text_prompt(text, seen[0])

    def outputs(work: str, state: Any) -> Outputs:
        if work != "prompt":
            return {}
        return {name: state[name].float().numpy() for name in ("scores", "boxes")}

    return Opened({"image": image, "prompt": prompt}, outputs)


if __name__ == "__main__":
    serve(opened)
