"""Two narrow layers in one kernel: the numbers, and where it is found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import tirx
from tvm.relax import op

from sam3port.kernels.cpu.products.narrow_mlp import fits, narrow_mlp_func
from tests.kernels.cpu.test_dispatch import called, check, module
from tests.kernels.running import CPU, Array, assert_as_exact, compile_function, random, run

torch = pytest.importorskip("torch")
functional = torch.nn.functional


def arrays(rows: int, inputs: int, hidden: int, results: int) -> list[Array]:
    """x, first weight and bias, second weight and bias, as the kernel takes them."""
    shapes = [(rows, inputs), (hidden, inputs), (hidden,), (hidden, results), (results,)]
    return [random(seed, *shape) for seed, shape in enumerate(shapes)]


def reference(given: list[Array], dtype: type) -> Array:
    x, first, first_bias, second, second_bias = (array.astype(dtype) for array in given)
    return np.asarray(np.maximum(x @ first.T + first_bias, 0) @ second + second_bias)


def check_kernel(rows: int, inputs: int, hidden: int, results: int) -> None:
    given = arrays(rows, inputs, hidden, results)
    function = narrow_mlp_func(rows, inputs, hidden, results, CPU, ("add_vector", "relu"), ("add_vector",))
    ours = run(function, given, (rows, results))
    terms = float(reference([np.abs(array) for array in given], np.float64).max())
    assert_as_exact(ours, reference(given, np.float32), reference(given, np.float64), terms=terms)


@pytest.mark.parametrize(
    ("rows", "inputs", "hidden", "results"),
    [(1, 1, 1, 1), (14_400, 2, 256, 8), (211, 4, 300, 16), (97, 3, 32, 7), (48, 2, 1025, 3)],
)
def test_sizes(rows: int, inputs: int, hidden: int, results: int) -> None:
    check_kernel(rows, inputs, hidden, results)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(rows=st.integers(1, 400), inputs=st.integers(1, 4), hidden=st.integers(1, 300), results=st.integers(1, 16))
def test_any_size(rows: int, inputs: int, hidden: int, results: int) -> None:
    check_kernel(rows, inputs, hidden, results)


def test_an_unknown_number_of_rows() -> None:
    function = narrow_mlp_func(tirx.Var("m", "int64"), 2, 70, 8, CPU, ("add_vector", "relu"), ("add_vector",))
    kernel = compile_function(function)
    for rows in (1, 16, 333):
        given = arrays(rows, 2, 70, 8)
        out = tvm.runtime.tensor(np.full((rows, 8), np.nan, np.float32))
        kernel(*map(tvm.runtime.tensor, given), out)
        np.testing.assert_allclose(out.numpy(), reference(given, np.float64), rtol=1e-5, atol=1e-4)


def test_what_it_is_for() -> None:
    assert fits(14_400, 2, 256, 8, CPU)
    assert fits(tirx.Var("m", "int64"), 2, 256, 8, CPU), "unknown is many"
    assert not fits(14_400, 5, 256, 8, CPU)
    assert not fits(14_400, 2, 256, 17, CPU)
    assert not fits(14_400, 2, 16, 8, CPU)
    assert not fits(CPU.lanes, 2, 256, 8, CPU)


ROWS = (2, 90, 2)
WEIGHTS: list[tuple[int, ...]] = [(64, 2), (64,), (8, 64), (8,)]


def layer(emit: Any, x: Any, w: Any, b: Any) -> Any:
    return emit(op.add(emit(op.matmul(x, emit(op.permute_dims(w, [1, 0])))), b))


def hidden_of(emit: Any, x: Any, w: Any, b: Any) -> Any:
    return emit(op.nn.relu(layer(emit, x, w, b)))


def both(emit: Any, x: Any, w: Any, b: Any, v: Any, c: Any) -> Any:
    return layer(emit, hidden_of(emit, x, w, b), v, c)


def expected(x: Any, w: Any, b: Any, v: Any, c: Any) -> Any:
    return functional.linear(torch.relu(functional.linear(x, w, b)), v, c)


def test_found() -> None:
    assert called(check([ROWS], WEIGHTS, both, expected)) == ["narrow_mlp_add_vector_relu_add_vector"]


def test_found_with_weights_the_other_way_round_and_behind_a_reshape() -> None:
    def build(emit: Any, x: Any, w: Any, v: Any) -> Any:
        hidden = emit(op.nn.gelu(emit(op.matmul(x, w))))
        return emit(op.nn.relu(emit(op.matmul(emit(op.reshape(hidden, (180, 64))), v))))

    def reference(x: Any, w: Any, v: Any) -> Any:
        return torch.relu(functional.gelu(x @ w).reshape(180, 64) @ v)

    assert called(check([ROWS], [(2, 64), (64, 5)], build, reference)) == ["narrow_mlp_gelu_relu"]


def test_hidden_features_that_somebody_else_reads() -> None:
    def build(emit: Any, x: Any, w: Any, b: Any, v: Any, c: Any) -> list[Any]:
        hidden = hidden_of(emit, x, w, b)
        return [layer(emit, hidden, v, c), hidden]

    def reference(x: Any, w: Any, b: Any, v: Any, c: Any) -> list[Any]:
        return [expected(x, w, b, v, c), torch.relu(functional.linear(x, w, b))]

    assert "narrow_mlp" not in " ".join(called(check([ROWS], WEIGHTS, build, reference)))


def test_hidden_features_that_are_cut_otherwise() -> None:
    def build(emit: Any, x: Any, w: Any, b: Any, v: Any, c: Any) -> Any:
        return layer(emit, emit(op.reshape(hidden_of(emit, x, w, b), (360, 32))), v, c)

    def reference(x: Any, w: Any, b: Any, v: Any, c: Any) -> Any:
        return functional.linear(torch.relu(functional.linear(x, w, b)).reshape(360, 32), v, c)

    mod = check([ROWS], [(64, 2), (64,), (8, 32), (8,)], build, reference)
    assert "narrow_mlp" not in " ".join(called(mod))


def test_layers_without_an_activation_or_that_are_not_narrow() -> None:
    def plain(emit: Any, x: Any, w: Any, b: Any, v: Any, c: Any) -> Any:
        return layer(emit, layer(emit, x, w, b), v, c)

    for build, inputs, weights in (
        (plain, ROWS, WEIGHTS),
        (both, (2, 90, 6), [(64, 6), *WEIGHTS[1:]]),
        (both, ROWS, [*WEIGHTS[:2], (40, 64), (40,)]),
        (both, (3, 2), WEIGHTS),
    ):
        assert "narrow_mlp" not in " ".join(called(module([inputs], weights, build)))
