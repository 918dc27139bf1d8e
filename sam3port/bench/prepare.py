"""What a contest needs besides the build: ``python -m sam3port.bench.prepare REQUEST.json``.

In a process of its own, which takes torch and its exporter with it when it ends.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def main() -> None:
    """Writes ``prepared.json`` (operations, bytes, names of the ONNX model) and, if asked for, ``model.onnx``."""
    from sam3port.build.request import BuildRequest
    from sam3port.compiler.export import load
    from sam3port.compiler.stage import EXPORTED
    from sam3port.errors import first_line
    from sam3port.inspect.describe import count_flops, used_weights
    from sam3port.patching.install import install
    from sam3port.verify.run_torch import register_operators

    warnings.simplefilter("ignore")
    request: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    build = BuildRequest.from_json(request["build"])
    register_operators(install(build.upstream, disable=build.disable))
    program = load(Path(request["built"], EXPORTED))
    out = Path(request["out"])
    prepared: dict[str, Any] = {
        "flops": count_flops(program),
        "weight_bytes": sum(tensor.numel() * tensor.element_size() for tensor in used_weights(program).values()),
        "onnx_inputs": [],
        "problem": "",
    }
    if request["onnx"]:
        try:
            prepared["onnx_inputs"] = _write_onnx(program, out / "model.onnx")
        except Exception as error:  # any failure of the exporter keeps two peers out, and is told
            prepared["problem"] = f"torch.onnx.export failed: {first_line(error)}"
    (out / "prepared.json").write_text(json.dumps(prepared), encoding="utf-8")


def _write_onnx(program: ExportedProgram, file: Path) -> list[str]:
    """The names of the model's inputs, in the order of the component's."""
    import torch

    names = [f"input_{index}" for index in range(len(program.graph_signature.user_inputs))]
    torch.onnx.export(program, f=file, input_names=names, dynamo=True, external_data=True, verbose=False)
    return names


if __name__ == "__main__":
    main()
