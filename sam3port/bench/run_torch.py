"""PyTorch, eager or compiled by inductor: ``python -m sam3port.bench.run_torch REQUEST.json``."""

from __future__ import annotations

import gc
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam3port.bench.child import Opened, serve
from sam3port.bench.contestants import Contestant
from sam3port.bench.inputs import load
from sam3port.verify.child import Outputs
from sam3port.verify.precision import PRECISIONS

if TYPE_CHECKING:
    import torch

    from sam3port.build.request import BuildRequest


def opened(request: dict[str, Any]) -> Opened:
    """The component's module, under autocast when bfloat16 is asked for."""
    from sam3port.build.request import BuildRequest
    from sam3port.patching.install import install
    from sam3port.verify.run_torch import not_portability

    warnings.simplefilter("ignore")
    build = BuildRequest.from_json(request["build"])
    compiled = request["contestant"] == Contestant.INDUCTOR
    installation = install(build.upstream, disable=[*build.disable, *not_portability(build.disable)])
    import torch

    torch.set_num_threads(request["threads"])
    torch.manual_seed(0)
    if compiled:
        from sam3port.verify.run_torch import register_operators

        register_operators(installation)
        module = _compiled(Path(request["built"]))
    else:
        module = _upstream(build, request["component"])
    given = [torch.from_numpy(array) for array in load(request).values()]
    names = [spec.name for spec in build.component(request["component"]).outputs(build.sizes())]

    def work() -> Any:
        # What inductor may do is decided by the mode it first runs in.
        with torch.no_grad(), PRECISIONS[build.dtype].upstream():
            return module(*given)

    def outputs(_work: str, results: Any) -> Outputs:
        return {name: result.float().numpy() if result.is_floating_point() else result.numpy()
                for name, result in zip(names, results, strict=True)}  # fmt: skip

    return Opened({request["work"]: work}, outputs)


def _upstream(build: BuildRequest, name: str) -> torch.nn.Module:
    from sam3port.model.build import build_model

    model = build_model(build.sizes(), seed=build.seed, checkpoint=build.checkpoint, base=build.base)
    module = build.component(name).module(model, build.sizes()).eval()
    del model
    gc.collect()
    return module


def _compiled(folder: Path) -> Any:
    import torch
    import torch._inductor.config as inductor

    from sam3port.compiler.export import load as load_program
    from sam3port.compiler.stage import EXPORTED

    inductor.freezing = True  # lets it pack weights beforehand, as the port does
    module = load_program(folder / EXPORTED).module()
    return torch.compile(module, dynamic=False)


if __name__ == "__main__":
    serve(opened)
