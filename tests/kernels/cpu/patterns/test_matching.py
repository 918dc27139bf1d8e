"""Patterns look and answer: whoever takes an answer decides what that means for the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tvm import relax
from tvm.relax import op

from sam3port.compiler.ir import load
from sam3port.kernels.common.graph import Graph
from sam3port.kernels.cpu.dispatch import MATCHERS, find
from sam3port.kernels.cpu.patterns.options import Options
from tests.kernels.running import CPU

OPTIONS = Options(CPU)


def without_a_trace(function: Any) -> int:
    """Has every pattern look at every variable of a graph that cannot be marked; returns the number of answers."""
    graph = Graph(function)
    graph.replaced = graph.bypassed = frozenset()  # type: ignore[assignment]
    found = [match(graph, var, OPTIONS) for var, _ in graph.bindings for match in MATCHERS]
    return sum(answer is not None for answer in found)


@pytest.mark.parametrize("component", ["image_encoder", "transformer_decoder", "segmentation_head"])
def test_no_pattern_marks_the_graph(component: str, tiny_built: Path) -> None:
    assert without_a_trace(load(tiny_built / component / "relax.json")["main"]) > 10


def test_an_attention_that_is_none_in_the_end_leaves_its_transposes_to_others() -> None:
    """The layer before writes its rows in the order that the transpose would make, though an attention looked at it."""

    def program(scores_of: str) -> Any:
        builder = relax.BlockBuilder()
        x = relax.Var("x", relax.TensorType((1, 6, 8), "float32"))
        w = relax.Var("w", relax.TensorType((8, 8), "float32"))
        bias = relax.Var("bias", relax.TensorType((6, 6), scores_of))
        with builder.function("main", [x, bias, w], attrs={"num_input": 2}):
            with builder.dataflow():
                emit = builder.emit
                layer = emit(op.matmul(x, emit(op.permute_dims(w, [1, 0]))))
                heads = emit(op.permute_dims(emit(op.reshape(layer, (1, 6, 2, 4))), [0, 2, 1, 3]))
                scores = emit(op.matmul(heads, emit(op.permute_dims(heads, [0, 1, 3, 2]))))
                shown = emit(op.add(scores, emit(op.astype(bias, "float32"))))
                twice = emit(op.add(shown, shown)) if scores_of == "float64" else shown
                result = builder.emit_output(op.matmul(emit(op.nn.softmax(twice, axis=-1)), heads))
            builder.emit_func_output(result)
        return builder.get()["main"]

    assert "attention" in {place.kernel for place in find(program("float32"), OPTIONS)}
    assert "attention" not in {place.kernel for place in find(program("float64"), OPTIONS)}
    assert without_a_trace(program("float64")) > 0
