"""OpenVINO: ``python -m sam3port.bench.run_openvino REQUEST.json``."""

from __future__ import annotations

from typing import Any

from sam3port.bench.child import Opened, serve
from sam3port.bench.inputs import load
from sam3port.errors import Sam3PortError
from sam3port.verify.child import Outputs
from sam3port.verify.precision import PRECISIONS


def opened(request: dict[str, Any]) -> Opened:
    """A compiled model for one request at a time, with the precision that was asked for."""
    import openvino as ov

    precision = PRECISIONS[request["build"]["dtype"]]
    core = ov.Core()
    wanted = precision.openvino_capability
    if wanted and wanted not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        # It would take the hint and compute in float32.
        raise Sam3PortError(f"OpenVINO has no {precision.name} on this CPU: it would compute in float32")
    properties = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": request["threads"],
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": precision.openvino,
    }
    compiled = core.compile_model(core.read_model(request["onnx"]), "CPU", properties)
    arrays = dict(zip(request["onnx_inputs"], load(request).values(), strict=True))
    # A tensor may have more names than the one that it was given: where OpenVINO removed an operator behind it.
    given = {index: arrays[(each.names & arrays.keys()).pop()] for index, each in enumerate(compiled.inputs)}
    inference = compiled.create_infer_request()

    def work() -> Any:
        inference.infer(given, share_inputs=True, share_outputs=True)
        return None

    def outputs(_work: str, _results: Any) -> Outputs:
        return {name: inference.get_output_tensor(index).data.copy() for index, name in enumerate(request["outputs"])}

    return Opened({request["work"]: work}, outputs)


if __name__ == "__main__":
    serve(opened)
