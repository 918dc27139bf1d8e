"""The port's component: ``python -m sam3port.bench.run_tvm REQUEST.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sam3port.bench.child import Opened, serve
from sam3port.bench.inputs import load
from sam3port.verify.child import Outputs


def opened(request: dict[str, Any]) -> Opened:
    """The library with its weights; inputs are tensors already, outputs stay tensors."""
    from sam3port.build.runner import Compiled

    component = Compiled(Path(request["built"]))
    given = component.tensors(load(request))

    def outputs(_work: str, results: Any) -> Outputs:
        return {spec.name: result.numpy() for spec, result in zip(component.outputs, results, strict=True)}

    return Opened({request["work"]: lambda: component.call(given)}, outputs)


if __name__ == "__main__":
    serve(opened)
