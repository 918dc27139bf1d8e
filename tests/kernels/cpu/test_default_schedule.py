"""What no kernel stands for: still right, still parallel and in vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax, tirx

from sam3port.kernels.cpu.default_schedule import default_schedule
from tests.compiled import compiled
from tests.kernels.running import HOST, Array, random

Build = Callable[..., Any]
"""Relax variables -> the result, in Relax."""

relu, exp, add, multiply = relax.op.nn.relu, relax.op.exp, relax.op.add, relax.op.multiply


def _two_axes_in_one(x: Any, y: Any) -> Any:
    """What the decoder makes of the distances to its boxes' edges: a row for each box, one of zeros before them."""
    both = add(relax.op.expand_dims(x, 2), relax.op.expand_dims(y, 1))
    rows = relax.op.reshape(relax.op.permute_dims(both, [3, 0, 1, 2]), (8, 20, 1440))
    return relax.op.concat([relax.op.zeros((8, 1, 1440), "float32"), rows], axis=1)


CASES: dict[str, tuple[list[tuple[int, ...]], Build, Callable[..., Array]]] = {
    "elementwise": (
        [(3, 40, 144), (3, 40, 144)],
        lambda x, y: add(multiply(x, y), x),
        lambda x, y: x * y + x,
    ),
    "odd elementwise": ([(7, 53, 61)], lambda x: relu(add(x, x)), lambda x: np.maximum(2 * x, 0)),
    "one axis": ([(100_003,)], exp, np.exp),
    "broadcast": ([(50, 1, 64), (30, 64)], add, lambda x, y: x + y),
    "sigmoid": ([(33, 1024)], relax.op.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
    "gelu": ([(200, 256)], relax.op.nn.gelu, None),  # type: ignore[dict-item]  # see below
    "sum of rows": ([(300, 512)], lambda x: relax.op.sum(x, axis=-1), lambda x: x.sum(-1)),
    "sum of odd rows": ([(300, 131)], lambda x: relax.op.sum(x, axis=-1), lambda x: x.sum(-1)),
    "sum of columns": ([(300, 512)], lambda x: relax.op.sum(x, axis=0), lambda x: x.sum(0)),
    "sum of all": ([(20, 30, 40)], lambda x: relax.op.sum(x), lambda x: x.sum()),
    "maximum of images": ([(2, 16, 40, 40)], lambda x: relax.op.max(x, axis=[2, 3]), lambda x: x.max((2, 3))),
    "mean, then subtract": (
        [(2, 64, 30, 32)],
        lambda x: relax.op.subtract(x, relax.op.mean(x, axis=1, keepdims=True)),
        lambda x: x - x.mean(1, keepdims=True),
    ),
    "softmax along the middle": (
        [(20, 30, 40)],
        lambda x: relax.op.nn.softmax(x, axis=1),
        lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True),
    ),
    "transpose": ([(160, 208)], lambda x: relax.op.permute_dims(x, [1, 0]), lambda x: x.T),
    "odd transpose": ([(161, 209)], lambda x: relax.op.permute_dims(x, [1, 0]), lambda x: x.T),
    "heads": (
        [(2, 36, 4, 32)],
        lambda x: relax.op.permute_dims(x, [0, 2, 1, 3]),
        lambda x: x.transpose(0, 2, 1, 3),
    ),
    "concatenation": (
        [(40, 30, 16), (40, 50, 16)],
        lambda x, y: relax.op.concat([x, y], axis=1),
        lambda x, y: np.concatenate([x, y], 1),
    ),
    "slices": (
        [(64, 100, 8)],
        lambda x: relax.op.strided_slice(x, axes=[1, 2], begin=[3, 0], end=[90, 8], strides=[2, 1]),
        lambda x: x[:, 3:90:2],
    ),
    "two axes in one": (
        [(20, 36, 8), (20, 40, 8)],
        lambda x, y: _two_axes_in_one(x, y),
        lambda x, y: np.concatenate(
            [np.zeros((8, 1, 1440)), (x[:, :, None] + y[:, None]).transpose(3, 0, 1, 2).reshape(8, 20, 1440)], 1
        ),
    ),
    "gather": (
        [(60, 512)],
        lambda x: relax.op.take(x, relax.const(np.arange(59, -1, -1)), axis=0, mode="clip"),
        lambda x: x[::-1],
    ),
    "dot product without a kernel": (
        [(2, 3, 40, 32), (32,)],
        relax.op.matmul,
        lambda x, y: x @ y,
    ),
    "convolution in groups": (
        [(1, 8, 60, 60), (8, 1, 1, 1)],
        lambda x, w: relax.op.nn.conv2d(x, w, groups=8),
        lambda x, w: x * w.reshape(1, 8, 1, 1),
    ),
    "double precision": ([(64, 300)], lambda x: relax.op.astype(exp(relax.op.astype(x, "float64")), "float32"), np.exp),
    "integers": (
        [(64, 300)],
        lambda x: relax.op.astype(relax.op.cumsum(relax.op.astype(x, "int32"), axis=1), "float32"),
        lambda x: x.astype(np.int32).cumsum(1).astype(np.float32),
    ),
}


def scheduled(shapes: list[tuple[int, ...]], build: Build, symbolic: bool = False) -> tvm.IRModule:
    builder = relax.BlockBuilder()
    first = tirx.Var("n", "int64")
    variables = []
    for index, shape in enumerate(shapes):
        dims: tuple[Any, ...] = (first, *shape[1:]) if symbolic else shape
        variables.append(relax.Var(f"x{index}", relax.TensorType(dims, "float32")))
    with builder.function("main", variables):
        with builder.dataflow():
            result = builder.emit_output(build(*variables))
        builder.emit_func_output(result)
    passes = [
        relax.transform.LegalizeOps(),
        relax.transform.AnnotateTIROpPattern(),
        relax.transform.FuseOps(),
        relax.transform.FuseTIR(),
        default_schedule(HOST),
    ]
    with HOST:
        return tvm.transform.Sequential(passes)(builder.get())


def evaluate(module: tvm.IRModule, arrays: list[Array]) -> Array:
    machine = relax.VirtualMachine(compiled(module, HOST), tvm.cpu())
    return np.asarray(machine["main"](*[tvm.runtime.tensor(x) for x in arrays]).numpy())


def functions(module: tvm.IRModule) -> str:
    return "".join(f.script() for _, f in module.functions_items() if isinstance(f, tirx.PrimFunc))


@pytest.mark.parametrize("name", CASES)
def test_results(name: str) -> None:
    shapes, build, reference = CASES[name]
    arrays = [random(index, *shape) for index, shape in enumerate(shapes)]
    ours = evaluate(scheduled(shapes, build), arrays)
    wide = [array.astype(np.float64) for array in arrays]
    if name == "gelu":
        torch = pytest.importorskip("torch")
        exact = torch.nn.functional.gelu(torch.from_numpy(wide[0])).numpy()
    else:
        exact = reference(*wide)
    assert ours.shape == exact.shape
    np.testing.assert_allclose(ours, exact, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["elementwise", "broadcast", "sum of columns", "sum of odd rows", "transpose"])
def test_results_of_unknown_size(name: str) -> None:
    shapes, build, reference = CASES[name]
    if name == "broadcast":
        shapes, build, reference = [(50, 1, 64)], lambda x: add(x, x), lambda x: x + x
    module = scheduled(shapes, build, symbolic=True)
    machine = relax.VirtualMachine(compiled(module, HOST), tvm.cpu())
    for size in (1, 17, 300):
        arrays = [random(index, size, *shape[1:]) for index, shape in enumerate(shapes)]
        ours = machine["main"](*[tvm.runtime.tensor(x) for x in arrays]).numpy()
        np.testing.assert_allclose(ours, reference(*[x.astype(np.float64) for x in arrays]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "name", [name for name in CASES if name not in ("sum of all", "integers", "dot product without a kernel")]
)
def test_large_work_is_parallel(name: str) -> None:
    shapes, build, _ = CASES[name]
    large = [tuple(8 * d if d > 1 and (i == 0 or len(s) == 1) else d for i, d in enumerate(s)) for s in shapes]
    if name in ("broadcast", "concatenation", "two axes in one", "gather", "convolution in groups"):
        large = shapes
    assert "T.parallel" in functions(scheduled(large, build))


@pytest.mark.parametrize("name", ["elementwise", "broadcast", "gelu", "sum of rows", "sum of columns", "heads"])
def test_whole_vectors(name: str) -> None:
    shapes, build, _ = CASES[name]
    assert "T.vectorized" in functions(scheduled(shapes, build))


def test_an_axis_that_was_two_is_cut_where_it_was() -> None:
    """Else each lane of a vector would divide for its own indices; and nothing is written twice."""
    text = functions(scheduled(*CASES["two axes in one"][:2]))
    assert text.count("T.vectorized") == 1
    assert "T.vectorized(T.int64(8))" in text, "40 is five times 8"
    assert "sblock_alloc_buffer" not in text


def test_small_work_stays_on_one_thread() -> None:
    module = scheduled([(8, 16)], lambda x: add(x, x))
    assert "T.parallel" not in functions(module)


def test_no_libm_in_a_loop() -> None:
    """exp, erf and sigmoid become arithmetic; float64 keeps its own."""
    for build in (exp, relax.op.nn.gelu, relax.op.sigmoid):
        text = functions(scheduled([(64, 64)], build))
        assert "T.exp(" not in text and "T.erf(" not in text and "T.sigmoid(" not in text
    wide = functions(scheduled(*CASES["double precision"][:2]))
    assert "T.exp(" in wide


def test_expensive_values_are_computed_once() -> None:
    """The square root of a row's sum must not move into the loop over the row."""
    build = lambda x: multiply(x, relax.op.sqrt(relax.op.sum(x, axis=1, keepdims=True)))  # noqa: E731
    lines = functions(scheduled([(64, 256)], build)).splitlines()
    roots = [number for number, line in enumerate(lines) if "T.sqrt(" in line]
    assert len(roots) == 1
    loop = next(line for line in reversed(lines[: roots[0]]) if line.strip().startswith("for "))
    assert "64" in loop and "256" not in loop
