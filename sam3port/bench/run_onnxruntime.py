"""ONNX Runtime: ``python -m sam3port.bench.run_onnxruntime REQUEST.json``."""

from __future__ import annotations

from typing import Any

from sam3port.bench.child import Opened, serve
from sam3port.bench.inputs import load
from sam3port.errors import UsageError
from sam3port.verify.child import Outputs


def opened(request: dict[str, Any]) -> Opened:
    """A session with all optimisations, inputs bound beforehand."""
    import onnxruntime as ort

    if request["build"]["dtype"] != "float32":
        raise UsageError("ONNX Runtime's CPU kernels compute in float32 only")
    options = ort.SessionOptions()
    options.intra_op_num_threads = request["threads"]
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(request["onnx"], options, providers=["CPUExecutionProvider"])
    arrays = list(load(request).values())
    # An input that nothing reads is not in the graph.
    given = {each.name: arrays[request["onnx_inputs"].index(each.name)] for each in session.get_inputs()}
    names = [each.name for each in session.get_outputs()]

    def outputs(_work: str, results: Any) -> Outputs:
        return dict(zip(request["outputs"], results, strict=True))

    return Opened({request["work"]: lambda: session.run(names, given)}, outputs)


if __name__ == "__main__":
    serve(opened)
