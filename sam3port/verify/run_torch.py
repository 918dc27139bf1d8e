"""One run of upstream in PyTorch, in a fresh interpreter: ``python -m sam3port.verify.run_torch REQUEST.json``.

What a run is decides which patches it has, and import-time patches cannot be changed in a running interpreter.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam3port.patching.install import Installation, install
from sam3port.patching.patch import Kind
from sam3port.plugins import load_plugins, switched_off
from sam3port.verify.child import Compute, Computing, Outputs
from sam3port.verify.precision import PRECISIONS
from sam3port.verify.runs import Run

if TYPE_CHECKING:
    import torch

    from sam3port.build.request import BuildRequest


def not_portability(disable: Iterable[str] = ()) -> list[str]:
    """The patches that the reference does without."""
    patches = load_plugins(switched_off(disable)).patches().values()
    return [patch.name for patch in patches if patch.kind is not Kind.PORTABILITY]


def main() -> None:
    """Computes what the request names (see `sam3port.verify.runs`)."""
    from sam3port.build.request import BuildRequest

    child = Computing()
    run = Run(child.request["run"])
    build = BuildRequest.from_json(child.request["build"])
    reference = run in {Run.REFERENCE, Run.FLOAT64, Run.AUTOCAST}
    disable = [*build.disable, *(not_portability(build.disable) if reference else ())]
    installation = install(build.upstream, disable=disable)
    child.say("patches", names=installation.patches)
    import torch

    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    with torch.no_grad(), _mode(run, build):
        if run is Run.EXPORTED:
            register_operators(installation)
            child.compute(lambda name: _outputs(build, name, _exported(Path(child.request["built"], name))))
        else:
            model = _model(build)
            _remember_shared(build, child.request["cases"], model)
            child.compute(lambda name: _outputs(build, name, _upstream(build, name, model), double=run is Run.FLOAT64))


def _model(build: BuildRequest) -> Any:
    from sam3port.model.build import build_model

    return build_model(build.sizes(), seed=build.seed, checkpoint=build.checkpoint, base=build.base)


def _remember_shared(build: BuildRequest, names: Iterable[str], model: Any) -> None:
    from sam3port.verify.shared import remember_shared

    modules = []
    for name in names:
        # A component that cannot be made ready fails, with its name, when its turn comes.
        with contextlib.suppress(Exception):
            modules.append(build.component(name).module(model, build.sizes()).eval())
    remember_shared(modules)


def _upstream(build: BuildRequest, name: str, model: Any) -> torch.nn.Module:
    return build.component(name).module(model, build.sizes()).eval()


def _exported(folder: Path) -> torch.nn.Module:
    from sam3port.compiler.export import load
    from sam3port.compiler.stage import EXPORTED

    module: torch.nn.Module = load(folder / EXPORTED).module()
    return module


def register_operators(installation: Installation) -> None:
    """A program can only be loaded when the operators that it calls are known, and upstream is not imported here."""
    for patch in installation.plan.patches:
        if patch.prepare is not None:
            patch.prepare()


def _outputs(build: BuildRequest, name: str, module: Callable[..., Any], double: bool = False) -> Compute:
    """What computes the outputs by name from the inputs in the order of the module's arguments."""
    import torch

    from sam3port.verify.float64 import only_float64

    specs = build.component(name).outputs(build.sizes())

    def compute(inputs: Outputs) -> Outputs:
        tensors = [torch.from_numpy(array) for array in inputs.values()]
        if double:
            tensors = [tensor.double() if tensor.is_floating_point() else tensor for tensor in tensors]
        with only_float64() if double else contextlib.nullcontext():
            results = module(*tensors)
        if len(results) != len(specs):
            raise RuntimeError(f"{len(results)} outputs, {len(specs)} are declared")
        # Autocast leaves bfloat16, which numpy does not know.
        results = [result.float() if result.dtype == torch.bfloat16 else result for result in results]
        return {spec.name: result.numpy() for spec, result in zip(specs, results, strict=True)}

    return compute


def _mode(run: Run, build: BuildRequest) -> contextlib.AbstractContextManager[None]:
    from sam3port.verify.float64 import in_float64

    if run is Run.AUTOCAST:
        return PRECISIONS[build.dtype].upstream()
    return in_float64() if run is Run.FLOAT64 else contextlib.nullcontext()


if __name__ == "__main__":
    main()
