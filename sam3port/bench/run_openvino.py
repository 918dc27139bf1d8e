"""OpenVINO: ``python -m sam3port.bench.run_openvino REQUEST.json``."""

from __future__ import annotations

from typing import Any

from sam3port.bench.child import Opened, serve
from sam3port.bench.inputs import load
from sam3port.errors import Sam3PortError
from sam3port.verify.child import Outputs


def opened(request: dict[str, Any]) -> Opened:
    """A compiled model for one request at a time, with the precision that was asked for."""
    import openvino as ov

    half = request["build"]["dtype"] == "bfloat16"
    core = ov.Core()
    if half and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        # It would take the hint and compute in float32.
        raise Sam3PortError("OpenVINO has no bfloat16 on this CPU: it would compute in float32")
    properties = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": request["threads"],
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
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
