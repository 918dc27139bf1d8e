"""What is taken for a kernel, what is not, and that both give the right numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.relax import op

from sam3port.kernels.cpu.dispatch import dispatch, find
from sam3port.kernels.cpu.patterns.options import Options
from sam3port.kernels.cpu.pipeline import optimise
from tests.compiled import compiled
from tests.kernels.running import CPU, HOST, Array, kernels_called, random

torch = pytest.importorskip("torch")

Build = Callable[..., Any]


def module(inputs: list[tuple[int, ...]], weights: list[tuple[int, ...]], build: Build, dtype: str = "float32") -> Any:
    """``main(*inputs, *weights)``; `build` gets variables and an ``emit``."""
    builder = relax.BlockBuilder()
    variables = [
        relax.Var(f"v{index}", relax.TensorType(shape, dtype)) for index, shape in enumerate([*inputs, *weights])
    ]
    with builder.function("main", variables, attrs={"num_input": len(inputs)}):
        with builder.dataflow():
            result = build(builder.emit, *variables)
            results = [builder.emit_output(value) for value in (result if isinstance(result, list) else [result])]
        builder.emit_func_output(results[0] if len(results) == 1 else relax.Tuple(results))
    return builder.get()


def kernels(mod: Any) -> list[str]:
    return [replacement.kernel for replacement in find(mod["main"], Options(CPU))]


def called(mod: Any) -> list[str]:
    """Names of the kernels that the dispatched function calls, in order."""
    return kernels_called(dispatch(HOST)(mod)["main"])


def evaluate(mod: Any, arrays: list[Array], weights: list[Array], dtype: str = "float32") -> list[Array]:
    machine = relax.VirtualMachine(compiled(optimise(mod, HOST, dtype=dtype), HOST), tvm.cpu())
    prepared = machine["main_transform_params"]([tvm.runtime.tensor(weight) for weight in weights])
    result = machine["main"](*[tvm.runtime.tensor(array) for array in arrays], *prepared)
    return [np.asarray(x.numpy()) for x in (result if not isinstance(result, tvm.runtime.Tensor) else [result])]


def check(inputs: list[tuple[int, ...]], weights: list[tuple[int, ...]], build: Build, reference: Build) -> Any:
    mod = module(inputs, weights, build)
    arrays = [random(i, *shape) for i, shape in enumerate(inputs)]
    fixed = [random(100 + i, *shape) for i, shape in enumerate(weights)]
    exact = reference(*[torch.from_numpy(array).double() for array in [*arrays, *fixed]])
    for ours, expected in zip(evaluate(mod, arrays, fixed), exact if isinstance(exact, list) else [exact], strict=True):
        np.testing.assert_allclose(ours, expected.numpy(), rtol=1e-4, atol=1e-4)
    return mod


def transposed(emit: Any, weight: Any) -> Any:
    return emit(op.permute_dims(weight, [1, 0]))


class TestLinear:
    def test_two_in_one_sum(self) -> None:
        def build(emit: Any, x: Any, y: Any, w: Any, v: Any) -> Any:
            left, right = (emit(op.matmul(a, transposed(emit, b))) for a, b in ((x, w), (y, v)))
            return emit(op.add(left, right))

        mod = check([(9, 20), (9, 30)], [(33, 20), (33, 30)], build, lambda x, y, w, v: x @ w.T + y @ v.T)
        assert sorted(called(mod)) == ["linear", "linear_add_tensor", "pack_weight", "pack_weight"]

    def test_with_all_that_follows(self) -> None:
        def build(emit: Any, x: Any, y: Any, w: Any, b: Any, s: Any) -> Any:
            product = emit(op.matmul(x, transposed(emit, w)))
            hidden = emit(op.nn.gelu(emit(op.add(product, b))))
            return emit(op.add(y, emit(op.multiply(hidden, s))))

        mod = check(
            [(2, 9, 20), (2, 9, 33)],
            [(33, 20), (33,), (33,)],
            build,
            lambda x, y, w, b, s: y + torch.nn.functional.gelu(x @ w.T + b) * s,
        )
        assert called(mod) == ["pack_weight", "linear_add_vector_gelu_multiply_vector_add_tensor"]

    def test_through_views(self) -> None:
        """As decompositions leave it: rows flattened, and the bias on the left."""

        def build(emit: Any, x: Any, w: Any, b: Any) -> Any:
            flat = emit(op.reshape(x, (18, 20)))
            product = emit(op.add(b, emit(op.matmul(flat, transposed(emit, w)))))
            return emit(op.nn.relu(emit(op.reshape(product, (2, 9, 33)))))

        mod = check([(2, 9, 20)], [(33, 20), (33,)], build, lambda x, w, b: torch.relu(x @ w.T + b))
        assert called(mod) == ["pack_weight", "linear_add_vector_relu"]

    def test_weight_as_it_is(self) -> None:
        mod = check([(5, 20)], [(20, 12)], lambda emit, x, w: emit(op.matmul(x, w)), lambda x, w: x @ w)
        assert called(mod) == ["pack_weight", "linear"]

    def test_copies_of_the_weight_for_each_image(self) -> None:
        def build(emit: Any, x: Any, w: Any) -> Any:
            copies = emit(op.broadcast_to(transposed(emit, w), (2, 3, 20, 12)))
            return emit(op.matmul(emit(op.reshape(x, (6, 4, 20))), emit(op.reshape(copies, (6, 20, 12)))))

        mod = check([(2, 3, 4, 20)], [(12, 20)], build, lambda x, w: (x @ w.T).reshape(6, 4, 12))
        assert called(mod) == ["pack_weight", "linear"]

    def test_part_of_a_weight(self) -> None:
        """MultiheadAttention keeps three weights in one."""

        def build(emit: Any, x: Any, w: Any, b: Any) -> list[Any]:
            parts = emit(op.split(w, 3, axis=0))
            biases = emit(op.split(b, 3, axis=0))
            return [
                emit(op.add(emit(op.matmul(x, transposed(emit, emit(relax.TupleGetItem(parts, i))))), biases[i]))
                for i in range(3)
            ]

        mod = check(
            [(7, 16)],
            [(48, 16), (48,)],
            build,
            lambda x, w, b: [x @ part.T + bias for part, bias in zip(w.chunk(3), b.chunk(3), strict=True)],
        )
        assert sorted(set(called(mod))) == ["linear_add_vector", "pack_weight"]

    def test_weight_bound_as_a_constant_is_packed_now(self) -> None:
        weight = random(0, 12, 20)
        mod = module([(5, 20)], [], lambda emit, x: emit(op.matmul(x, transposed(emit, emit(relax.const(weight))))))
        folded = relax.transform.FoldConstant()(mod)
        assert called(folded) == ["linear"]

    def test_chain_ends_where_someone_else_reads(self) -> None:
        def build(emit: Any, x: Any, w: Any, b: Any) -> list[Any]:
            product = emit(op.add(emit(op.matmul(x, transposed(emit, w))), b))
            return [product, emit(op.nn.relu(product))]

        mod = check([(5, 20)], [(12, 20), (12,)], build, lambda x, w, b: [x @ w.T + b, torch.relu(x @ w.T + b)])
        assert called(mod) == ["pack_weight", "linear_add_vector"]

    def test_chain_ends_at_another_broadcast(self) -> None:
        def build(emit: Any, x: Any, y: Any, w: Any) -> Any:
            return emit(op.add(emit(op.matmul(x, transposed(emit, w))), y))

        mod = check([(5, 12), (5, 1)], [(12, 12)], build, lambda x, y, w: x @ w.T + y)
        assert called(mod) == ["pack_weight", "linear"]
        mod = check([(5, 12), (3, 5, 12)], [(12, 12)], build, lambda x, y, w: x @ w.T + y)
        assert called(mod) == ["pack_weight", "linear"]

    def test_product_added_to_itself(self) -> None:
        def build(emit: Any, x: Any, w: Any) -> Any:
            product = emit(op.matmul(x, transposed(emit, w)))
            return emit(op.add(product, product))

        assert called(check([(5, 12)], [(7, 12)], build, lambda x, w: 2 * (x @ w.T))) == ["pack_weight", "linear"]

    def test_float64_is_left_alone(self) -> None:
        mod = module([(5, 12)], [(12, 7)], lambda emit, x, w: emit(op.matmul(x, w)), dtype="float64")
        assert kernels(mod) == []


class TestRowsInAnotherOrder:
    """As the image encoder does: windows of an image before a linear layer, put back after another."""

    SHAPES = [(1, 12, 8, 20)], [(20, 30), (30,)]

    @staticmethod
    def windows(emit: Any, x: Any) -> Any:
        features = int(x.ty.shape[-1])
        apart = emit(op.reshape(x, (1, 3, 4, 2, 4, features)))
        return emit(op.reshape(emit(op.permute_dims(apart, [0, 1, 3, 2, 4, 5])), (6, 4, 4, features)))

    @staticmethod
    def image(emit: Any, x: Any) -> Any:
        features = int(x.ty.shape[-1])
        apart = emit(op.reshape(x, (1, 3, 2, 4, 4, features)))
        return emit(op.reshape(emit(op.permute_dims(apart, [0, 1, 3, 2, 4, 5])), (1, 12, 8, features)))

    @staticmethod
    def exactly(x: Any) -> Any:
        """Windows of [1, 12, 8, C]."""
        return x.reshape(1, 3, 4, 2, 4, -1).permute(0, 1, 3, 2, 4, 5).reshape(6, 4, 4, -1)

    @staticmethod
    def back(x: Any) -> Any:
        return x.reshape(1, 3, 2, 4, 4, -1).permute(0, 1, 3, 2, 4, 5).reshape(1, 12, 8, -1)

    def test_windows_are_read_in_place(self) -> None:
        def build(emit: Any, x: Any, w: Any, b: Any) -> Any:
            return emit(op.add(emit(op.matmul(self.windows(emit, x), w)), b))

        mod = check(*self.SHAPES, build, lambda x, w, b: self.exactly(x) @ w + b)
        assert called(mod) == ["pack_weight", "linear_add_vector"]
        assert "R.permute_dims" not in dispatch(HOST)(mod).script()

    @pytest.mark.parametrize("residual", [True, False])
    def test_windows_are_put_back_by_the_product(self, residual: bool) -> None:
        inputs, weights = [(6, 4, 4, 20), (1, 12, 8, 30)], self.SHAPES[1]

        def build(emit: Any, x: Any, before: Any, w: Any, b: Any) -> Any:
            out = self.image(emit, emit(op.add(emit(op.matmul(x, w)), b)))
            return emit(op.add(before, out)) if residual else out

        def reference(x: Any, before: Any, w: Any, b: Any) -> Any:
            return self.back(x @ w + b) + (before if residual else 0)

        mod = check(inputs, weights, build, reference)
        assert called(mod) == ["pack_weight", "linear_add_vector_add_tensor" if residual else "linear_add_vector"]
        assert "R.permute_dims" not in dispatch(HOST)(mod).script()

    def test_a_residual_in_the_old_order(self) -> None:
        def build(emit: Any, x: Any, before: Any, w: Any) -> Any:
            return self.image(emit, emit(op.add(emit(op.matmul(x, w)), before)))

        inputs = [(6, 4, 4, 20), (6, 4, 4, 30)]
        mod = check(inputs, [(20, 30)], build, lambda x, before, w: self.back(x @ w + before))
        assert called(mod) == ["pack_weight", "linear_add_tensor"]

    def test_from_one_product_to_another(self) -> None:
        """The second reads in front of the transpose, so the first leaves its rows there."""

        def build(emit: Any, x: Any, w: Any, b: Any) -> Any:
            turned = emit(op.permute_dims(emit(op.matmul(x, w)), [1, 0, 2]))
            return emit(op.matmul(turned, b))

        mod = check([(5, 7, 20)], [(20, 30), (30, 40)], build, lambda x, w, b: (x @ w).transpose(0, 1) @ b)
        assert [name for name in called(mod) if name != "pack_weight"] == ["linear", "linear"]
        assert "R.permute_dims" not in dispatch(HOST)(mod).script()

    def test_of_one_head(self) -> None:
        """Rows move between products and attention, whose heads could as well be rows."""

        def build(emit: Any, x: Any, w: Any) -> Any:
            heads = emit(op.permute_dims(emit(op.reshape(emit(op.matmul(x, w)), (9, 2, 1, 20))), [1, 2, 0, 3]))
            out = TestAttention.spelled_out(emit, heads, heads, heads)
            return emit(op.matmul(emit(op.reshape(emit(op.permute_dims(out, [2, 0, 1, 3])), (9, 2, 20))), w))

        def reference(x: Any, w: Any) -> Any:
            heads = (x @ w).reshape(9, 2, 1, 20).permute(1, 2, 0, 3)
            return TestAttention.reference(heads, heads, heads).permute(2, 0, 1, 3).reshape(9, 2, 20) @ w

        mod = check([(9, 2, 20)], [(20, 20)], build, reference)
        assert sorted(name for name in called(mod) if name != "pack_weight") == ["attention", "linear", "linear"]

    def test_features_that_move_are_no_order_of_rows(self) -> None:
        def build(emit: Any, x: Any, w: Any) -> Any:
            return emit(op.permute_dims(emit(op.matmul(emit(op.permute_dims(x, [0, 2, 1])), w)), [0, 2, 1]))

        mod = check([(2, 20, 20)], [(20, 20)], build, lambda x, w: (x.transpose(1, 2) @ w).transpose(1, 2))
        assert "R.permute_dims" in dispatch(HOST)(mod).script()


class TestProduct:
    def test_of_activations(self) -> None:
        mod = check([(2, 3, 9, 20), (2, 3, 20, 5)], [], lambda emit, a, b: emit(op.matmul(a, b)), lambda a, b: a @ b)
        assert called(mod) == ["batched_matmul"]

    def test_with_a_transposed_one(self) -> None:
        def build(emit: Any, a: Any, b: Any) -> Any:
            return emit(op.matmul(a, emit(op.permute_dims(b, [0, 2, 1]))))

        mod = check([(3, 9, 20), (3, 5, 20)], [], build, lambda a, b: a @ b.transpose(1, 2))
        assert called(mod) == ["batched_matmul"]
        assert "permute_dims" not in dispatch(HOST)(mod)["main"].script()

    @pytest.mark.parametrize("right", [(1, 20, 5), (1, 1, 20, 1), (20, 1)])
    def test_with_one_for_a_whole_batch(self, right: tuple[int, ...]) -> None:
        mod = check([(6, 3, 9, 20), right], [], lambda emit, a, b: emit(op.matmul(a, b)), lambda a, b: a @ b)
        assert called(mod) == ["batched_matmul"]

    def test_with_one_transposed_for_a_whole_batch(self) -> None:
        def build(emit: Any, a: Any, b: Any) -> Any:
            return emit(op.matmul(a, emit(op.permute_dims(b, [0, 2, 1]))))

        mod = check([(3, 9, 20), (1, 5, 20)], [], build, lambda a, b: a @ b.transpose(1, 2))
        assert called(mod) == ["batched_matmul"]

    @pytest.mark.parametrize(("a", "b"), [((1, 9, 20), (3, 20, 5)), ((9, 20), (1, 20, 5)), ((3, 1, 9, 20), (3, 20, 5))])
    def test_unequal_batches_are_left_alone(self, a: tuple[int, ...], b: tuple[int, ...]) -> None:
        mod = check([a, b], [], lambda emit, a, b: emit(op.matmul(a, b)), lambda a, b: a @ b)
        assert kernels(mod) == []


class TestAttention:
    @staticmethod
    def spelled_out(emit: Any, q: Any, k: Any, v: Any, bias: Any = None, weights: bool = False) -> Any:
        scaled = emit(op.multiply(q, relax.const(0.25, "float32")))
        rank = len(k.ty.shape)
        axes = [*range(rank - 2), rank - 1, rank - 2]
        scores = emit(op.matmul(scaled, emit(op.permute_dims(k, axes))))
        if bias is not None:
            scores = emit(op.add(scores, bias))
        soft = emit(op.nn.softmax(scores, axis=-1))
        out = emit(op.matmul(soft, v))
        return [out, soft] if weights else out

    @staticmethod
    def reference(q: Any, k: Any, v: Any, bias: Any = None) -> Any:
        scores = 0.25 * q @ k.transpose(-1, -2)
        return torch.softmax(scores if bias is None else scores + bias, -1) @ v

    @pytest.mark.parametrize("outer", [(), (6,), (2, 3)])
    def test_spelled_out(self, outer: tuple[int, ...]) -> None:
        shapes = [(*outer, 9, 16), (*outer, 21, 16), (*outer, 21, 24)]
        mod = check(shapes, [], self.spelled_out, self.reference)
        assert called(mod) == ["attention"]

    @pytest.mark.parametrize("bias", [(2, 3, 9, 21), (9, 21), (2, 1, 1, 21), (1, 21)])
    def test_with_a_bias(self, bias: tuple[int, ...]) -> None:
        shapes = [(2, 3, 9, 16), (2, 3, 21, 16), (2, 3, 21, 16), bias]
        assert called(check(shapes, [], self.spelled_out, self.reference)) == ["attention"]

    @pytest.mark.parametrize("bias", [(6, 9, 21), (6, 1, 21), (9, 21)])
    def test_with_a_bias_and_one_batch_axis(self, bias: tuple[int, ...]) -> None:
        shapes = [(6, 9, 16), (6, 21, 16), (6, 21, 16), bias]
        assert called(check(shapes, [], self.spelled_out, self.reference)) == ["attention"]

    @pytest.mark.parametrize("whole", [True, False])
    def test_transposed_heads_are_not_copied(self, whole: bool) -> None:
        """As nn.MultiheadAttention does with a batch of one: [L, 1, H * D] to heads first, and back."""

        def build(emit: Any, q: Any, k: Any, v: Any) -> Any:
            def heads(x: Any, length: int) -> Any:
                turned = emit(op.permute_dims(emit(op.reshape(x, (length, 3, 16))), [1, 0, 2]))
                return emit(op.reshape(turned, (1, 3, length, 16))) if whole else turned

            q, k, v = heads(q, 9), heads(k, 21), heads(v, 21)
            if whole:
                last = [emit(op.permute_dims(x, [0, 2, 1, 3])) for x in (q, k, v)]
                out = emit(op.permute_dims(emit(op.nn.attention(*last, scale=0.25)), [0, 2, 1, 3]))
                return emit(op.reshape(emit(op.permute_dims(out, [2, 0, 1, 3])), (9, 1, 48)))
            out = emit(op.permute_dims(self.spelled_out(emit, q, k, v), [1, 0, 2]))
            return emit(op.reshape(out, (9, 1, 48)))

        def reference(q: Any, k: Any, v: Any) -> Any:
            turned = (x.reshape(-1, 3, 16).transpose(0, 1) for x in (q, k, v))
            return self.reference(*turned).transpose(0, 1).reshape(9, 1, 48)

        mod = check([(9, 1, 48), (21, 1, 48), (21, 1, 48)], [], build, reference)
        assert called(mod) == ["attention"]
        assert "permute_dims" not in dispatch(HOST)(mod).script()

    @staticmethod
    def rotated(emit: Any, x: Any, table: Any, swapped: bool = False) -> Any:
        """As the patch float_rope spells it out: x [B, H, L, D], pairs of cos and sin [L, D]."""
        *outer, length, features = (int(dim) for dim in x.ty.shape)

        def halves(whole: Any, shape: tuple[int, ...]) -> list[Any]:
            pairs = emit(op.reshape(whole, (*shape[:-1], shape[-1] // 2, 2)))
            axis = len(shape)
            each = [emit(op.strided_slice(pairs, (axis,), (i,), (i + 1,), (1,))) for i in (0, 1)]
            return [emit(op.squeeze(half, [axis])) for half in each]

        a, b = halves(x, (*outer, length, features))
        cos, sin = halves(table, (1, 1, length, features))
        real = emit(op.subtract(emit(op.multiply(a, cos)), emit(op.multiply(b, sin))))
        crossed = (b, sin), (a, cos)
        one, other = ((a, sin), (b, cos)) if not swapped else crossed
        imaginary = emit(op.add(emit(op.multiply(*one)), emit(op.multiply(*other))))
        pairs = [emit(op.expand_dims(each, [4])) for each in (real, imaginary)]
        return emit(op.reshape(emit(op.concat(pairs, axis=4)), (*outer, length, features)))

    @staticmethod
    def exactly_rotated(x: Any, table: Any) -> Any:
        pairs = (torch.view_as_complex(each.reshape(*each.shape[:-1], -1, 2).contiguous()) for each in (x, table))
        first, second = pairs
        return torch.view_as_real(first * second).flatten(-2)

    @pytest.mark.parametrize("tables", ["one", "two", "not a rotation"])
    def test_one_layer_and_rotations_are_read_where_they_are(self, tables: str) -> None:
        """As the image encoder does: [B, L, 3, H, D], the three put first, taken apart, two of them rotated."""

        def build(emit: Any, qkv: Any, table: Any, other: Any) -> Any:
            apart = emit(op.permute_dims(emit(op.reshape(qkv, (2, 9, 3, 3, 16))), [2, 0, 3, 1, 4]))
            q, k, v = (
                emit(op.squeeze(emit(op.strided_slice(apart, (0,), (i,), (i + 1,), (1,))), [0])) for i in range(3)
            )
            q = self.rotated(emit, q, table)
            k = self.rotated(emit, k, other if tables == "two" else table, swapped=tables == "not a rotation")
            last = [emit(op.permute_dims(x, [0, 2, 1, 3])) for x in (q, k, v)]
            return emit(op.nn.attention(*last, scale=0.25))

        def reference(qkv: Any, table: Any, other: Any) -> Any:
            q, k, v = qkv.reshape(2, 9, 3, 3, 16).permute(2, 0, 3, 1, 4)
            q = self.exactly_rotated(q, table)
            if tables == "not a rotation":
                pairs = k.unflatten(-1, (-1, 2))
                turns = table.unflatten(-1, (-1, 2))
                real = pairs[..., 0] * turns[..., 0] - pairs[..., 1] * turns[..., 1]
                k = torch.stack([real, (pairs * turns).sum(-1)], -1).flatten(-2)
            else:
                k = self.exactly_rotated(k, other if tables == "two" else table)
            return self.reference(q, k, v).transpose(1, 2)

        mod = check([(2, 9, 144)], [(9, 16), (9, 16)], build, reference)
        text = dispatch(HOST)(mod).script()
        assert called(mod) == ["attention"]
        assert ("R.concat" in text) is (tables != "one")
        assert ("R.permute_dims" in text) is (tables != "one")

    @pytest.mark.parametrize("part", [0, 2])
    def test_parts_of_one_layer_without_batch(self, part: int) -> None:
        """As nn.MultiheadAttention does with a batch of one: [1, L, 1, 3, E], the first and the three change places."""

        def build(emit: Any, qkv: Any, k: Any, v: Any) -> Any:
            apart = emit(op.permute_dims(emit(op.reshape(qkv, (1, 9, 1, 3, 48))), [3, 1, 2, 0, 4]))
            apart = emit(op.squeeze(apart, [3]))
            taken = emit(op.squeeze(emit(op.strided_slice(apart, (0,), (part,), (part + 1,), (1,))), [0]))
            q = emit(op.permute_dims(emit(op.reshape(taken, (9, 3, 16))), [1, 0, 2]))
            return self.spelled_out(emit, q, k, v)

        def reference(qkv: Any, k: Any, v: Any) -> Any:
            return self.reference(qkv.reshape(9, 3, 3, 16)[:, part].transpose(0, 1), k, v)

        mod = check([(9, 144), (3, 21, 16), (3, 21, 16)], [], build, reference)
        assert called(mod) == ["attention"]
        assert "R.permute_dims" not in dispatch(HOST)(mod).script()

    def test_windows_put_back_are_not_copied(self) -> None:
        """As the image encoder does: [B, H, L, D] to [B, y, x, H, D]."""

        def build(emit: Any, q: Any, k: Any, v: Any) -> Any:
            out = emit(op.reshape(self.spelled_out(emit, q, k, v), (2, 3, 3, 4, 16)))
            return emit(op.reshape(emit(op.permute_dims(out, [0, 2, 3, 1, 4])), (2, 12, 48)))

        def reference(q: Any, k: Any, v: Any) -> Any:
            return self.reference(q, k, v).transpose(1, 2).reshape(2, 12, 48)

        mod = check([(2, 3, 12, 16), (2, 3, 21, 16), (2, 3, 21, 16)], [], build, reference)
        assert called(mod) == ["attention"]
        assert "permute_dims" not in dispatch(HOST)(mod).script()

    @pytest.mark.parametrize("axes", [(1, 0, 2, 3), (0, 2, 1, 3), (0, 1, 3, 2), (3, 2, 1, 0)])
    def test_other_transposes_stay(self, axes: tuple[int, ...]) -> None:
        """Axes of equal size, so that only the order tells what is meant."""

        def build(emit: Any, q: Any, k: Any, v: Any) -> Any:
            turned = [emit(op.permute_dims(x, axes)) for x in (q, k, v)]
            return emit(op.permute_dims(self.spelled_out(emit, *turned), axes))

        def reference(q: Any, k: Any, v: Any) -> Any:
            return self.reference(*(x.permute(axes) for x in (q, k, v))).permute(axes)

        mod = check([(4, 4, 4, 4), (4, 4, 4, 4), (4, 4, 4, 4)], [], build, reference)
        assert called(mod) == ["attention"]

    def test_a_batch_inside_the_sequence_stays(self) -> None:
        """[L, B, H, D]: two steps of a sequence are not neighbours of one item."""

        def build(emit: Any, q: Any, k: Any, v: Any) -> Any:
            turned = [emit(op.permute_dims(x, [1, 2, 0, 3])) for x in (q, k, v)]
            return emit(op.permute_dims(self.spelled_out(emit, *turned), [2, 0, 1, 3]))

        def reference(q: Any, k: Any, v: Any) -> Any:
            return self.reference(*(x.permute(1, 2, 0, 3) for x in (q, k, v))).permute(2, 0, 1, 3)

        mod = check([(9, 2, 3, 16), (21, 2, 3, 16), (21, 2, 3, 16)], [], build, reference)
        assert called(mod) == ["attention"]

    def test_weights_that_are_wanted(self) -> None:
        def reference(q: Any, k: Any, v: Any) -> list[Any]:
            return [self.reference(q, k, v), torch.softmax(0.25 * q @ k.transpose(-1, -2), -1)]

        shapes = [(6, 9, 16), (6, 21, 16), (6, 21, 16)]
        mod = check(shapes, [], lambda emit, q, k, v: self.spelled_out(emit, q, k, v, weights=True), reference)
        assert "attention" not in called(mod)

    def test_softmax_along_another_axis(self) -> None:
        def build(emit: Any, q: Any, k: Any, v: Any) -> Any:
            scores = emit(op.matmul(q, emit(op.permute_dims(k, [0, 2, 1]))))
            return emit(op.matmul(emit(op.nn.softmax(scores, axis=1)), v))

        mod = check(
            [(2, 9, 16), (2, 9, 16), (2, 9, 16)],
            [],
            build,
            lambda q, k, v: torch.softmax(q @ k.transpose(1, 2), 1) @ v,
        )
        assert "attention" not in called(mod)

    def test_scaled_after_the_bias(self) -> None:
        """``(q k + bias) * c`` is not ``q k * c + bias``."""

        def build(emit: Any, q: Any, k: Any, v: Any, bias: Any) -> Any:
            scores = emit(op.add(emit(op.matmul(q, emit(op.permute_dims(k, [0, 2, 1])))), bias))
            soft = emit(op.nn.softmax(emit(op.multiply(scores, relax.const(0.5, "float32"))), axis=-1))
            return emit(op.matmul(soft, v))

        check(
            [(2, 9, 16), (2, 7, 16), (2, 7, 16), (2, 9, 7)],
            [],
            build,
            lambda q, k, v, b: torch.softmax((q @ k.transpose(1, 2) + b) * 0.5, -1) @ v,
        )

    @pytest.mark.parametrize("heads_first", [False, True])
    def test_kept_whole(self, heads_first: bool) -> None:
        def build(emit: Any, q: Any, k: Any, v: Any, bias: Any) -> Any:
            if heads_first:
                q, k, v = (emit(op.permute_dims(x, [0, 2, 1, 3])) for x in (q, k, v))
            out = emit(op.nn.attention(q, k, v, bias, 0.25))
            return emit(op.permute_dims(out, [0, 2, 1, 3])) if heads_first else out

        def reference(q: Any, k: Any, v: Any, bias: Any) -> Any:
            if not heads_first:
                q, k, v = (x.transpose(1, 2) for x in (q, k, v))
            out = self.reference(q, k, v, bias)
            return out if heads_first else out.transpose(1, 2)

        shapes = [(2, 3, 9, 16), (2, 3, 21, 16), (2, 3, 21, 16)]
        if not heads_first:
            shapes = [(b, n, h, d) for b, h, n, d in shapes]
        mod = check([*shapes, (2, 1, 9, 21)], [], build, reference)
        assert called(mod) == ["attention"]
        assert "permute_dims" not in dispatch(HOST)(mod)["main"].script()

    @pytest.mark.parametrize(("mask", "queries"), [("TopLeft", 20), ("BottomRight", 9)])
    def test_causal(self, mask: str, queries: int) -> None:
        def reference(q: Any, k: Any, v: Any) -> Any:
            q, k, v = (x.transpose(1, 2) for x in (q, k, v))
            hidden = torch.ones(queries, 20, dtype=torch.bool).triu(1 if mask == "TopLeft" else 1 + 20 - queries)
            scores = (0.25 * q @ k.transpose(-1, -2)).masked_fill(hidden, float("-inf"))
            return (torch.softmax(scores, -1) @ v).transpose(1, 2)

        mod = check(
            [(1, queries, 2, 16), (1, 20, 2, 16), (1, 20, 2, 16)],
            [],
            lambda emit, q, k, v: emit(op.nn.attention(q, k, v, causal_mask=mask)),
            reference,
        )
        assert called(mod) == ["attention"]


class TestConvolution:
    def test_two_in_one_sum(self) -> None:
        """One takes the sum along; the other one was left to plain loops once."""

        def build(emit: Any, x: Any, y: Any, w: Any, v: Any) -> Any:
            return emit(op.add(emit(op.nn.conv2d(x, w)), emit(op.nn.conv2d(y, v))))

        def reference(x: Any, y: Any, w: Any, v: Any) -> Any:
            return torch.nn.functional.conv2d(x, w) + torch.nn.functional.conv2d(y, v)

        mod = check([(1, 4, 9, 9), (1, 5, 9, 9)], [(6, 4, 1, 1), (6, 5, 1, 1)], build, reference)
        assert sorted(kernels_called(dispatch(HOST)(mod)["main"])) == [
            "convolution",
            "convolution_add_tensor",
            "pack_convolution",
            "pack_convolution",
        ]

    def test_of_a_whole_image_is_a_linear_layer(self) -> None:
        def build(emit: Any, x: Any, y: Any, w: Any, b: Any) -> Any:
            product = emit(op.nn.conv2d(x, w))
            return emit(op.add(emit(op.nn.relu(emit(op.add(product, emit(op.reshape(b, (1, 6, 1, 1))))))), y))

        mod = check(
            [(3, 4, 7, 5), (3, 6, 1, 1)],
            [(6, 4, 7, 5), (6,)],
            build,
            lambda x, y, w, b: torch.relu(torch.nn.functional.conv2d(x, w, b)) + y,
        )
        assert called(mod) == ["pack_weight", "linear_add_vector_relu_add_tensor"]

    def test_with_all_that_follows(self) -> None:
        def build(emit: Any, x: Any, y: Any, w: Any, b: Any) -> Any:
            product = emit(op.nn.conv2d(x, w, padding=1))
            biased = emit(op.add(product, emit(op.reshape(b, (1, 6, 1, 1)))))
            return emit(op.add(emit(op.nn.relu(biased)), y))

        mod = check(
            [(2, 4, 11, 13), (2, 6, 11, 13)],
            [(6, 4, 3, 3), (6,)],
            build,
            lambda x, y, w, b: torch.relu(torch.nn.functional.conv2d(x, w, b, padding=1)) + y,
        )
        assert called(mod) == ["pack_convolution", "convolution_add_vector_relu_add_tensor"]

    def test_of_each_channel_by_itself(self) -> None:
        def build(emit: Any, x: Any, y: Any, w: Any, b: Any) -> Any:
            product = emit(op.nn.conv2d(x, w, padding=1, groups=6))
            biased = emit(op.add(product, emit(op.reshape(b, (1, 6, 1, 1)))))
            return emit(op.add(emit(op.nn.relu(biased)), y))

        mod = check(
            [(2, 6, 11, 13), (2, 6, 11, 13)],
            [(6, 1, 3, 3), (6,)],
            build,
            lambda x, y, w, b: torch.relu(torch.nn.functional.conv2d(x, w, b, padding=1, groups=6)) + y,
        )
        assert called(mod) == ["depthwise_add_vector_relu_add_tensor"]

    @pytest.mark.parametrize(("weight", "stride"), [((12, 1, 3, 3), 1), ((6, 2, 3, 3), 1), ((6, 1, 3, 3), 2)])
    def test_other_groups(self, weight: tuple[int, ...], stride: int) -> None:
        """Two filters a channel, two channels a filter, every other pixel: none of our kernels."""
        groups = 6 // weight[1]
        mod = check(
            [(2, 6, 11, 13)],
            [weight],
            lambda emit, x, w: emit(op.nn.conv2d(x, w, padding=1, groups=groups, strides=stride)),
            lambda x, w: torch.nn.functional.conv2d(x, w, padding=1, groups=groups, stride=stride),
        )
        assert called(mod) == []

    def test_transposed(self) -> None:
        def build(emit: Any, x: Any, w: Any, b: Any) -> Any:
            product = emit(op.nn.conv2d_transpose(x, w, strides=2))
            return emit(op.nn.gelu(emit(op.add(product, emit(op.reshape(b, (1, 6, 1, 1)))))))

        functional = torch.nn.functional
        mod = check(
            [(1, 4, 5, 7)],
            [(4, 6, 2, 2), (6,)],
            build,
            lambda x, w, b: functional.gelu(functional.conv_transpose2d(x, w, b, stride=2)),
        )
        assert called(mod) == ["pack_transposed", "transposed_convolution_add_vector_gelu"]

    @pytest.mark.parametrize(("width", "fused"), [(48, True), (7, False)])
    def test_transposed_with_a_finer_map_added(self, width: int, fused: bool) -> None:
        """As mask decoders do; lines of odd width are not written as vectors, and left to the general rule."""

        def build(emit: Any, x: Any, finer: Any, w: Any, b: Any) -> Any:
            product = emit(op.add(emit(op.nn.conv2d_transpose(x, w, strides=2)), emit(op.reshape(b, (1, 6, 1, 1)))))
            return emit(op.nn.gelu(emit(op.add(product, finer))))

        functional = torch.nn.functional
        mod = check(
            [(2, 4, 5, width), (2, 6, 10, 2 * width)],
            [(4, 6, 2, 2), (6,)],
            build,
            lambda x, finer, w, b: functional.gelu(functional.conv_transpose2d(x, w, b, stride=2) + finer),
        )
        steps = "add_vector_add_tensor_gelu" if fused else "add_vector"
        assert called(mod) == ["pack_transposed", f"transposed_convolution_{steps}"]

    def test_groups_and_overlaps_are_left_alone(self) -> None:
        functional = torch.nn.functional
        mod = check(
            [(1, 4, 9, 9)],
            [(4, 2, 3, 3)],
            lambda emit, x, w: emit(op.nn.conv2d(x, w, groups=2)),
            lambda x, w: functional.conv2d(x, w, groups=2),
        )
        assert kernels(mod) == []
        mod = check(
            [(1, 4, 9, 9)],
            [(4, 2, 3, 3)],
            lambda emit, x, w: emit(op.nn.conv2d_transpose(x, w, strides=2)),
            lambda x, w: functional.conv_transpose2d(x, w, stride=2),
        )
        assert kernels(mod) == []

    def test_weight_that_is_an_input_is_left_alone(self) -> None:
        mod = module([(1, 4, 9, 9), (4, 4, 3, 3)], [], lambda emit, x, w: emit(op.nn.conv2d(x, w)))
        assert kernels(mod) == []


class TestNormalisation:
    def test_of_rows(self) -> None:
        def build(emit: Any, x: Any, g: Any, b: Any) -> Any:
            return emit(op.nn.softmax(emit(op.nn.layer_norm(x, g, b, axes=-1, epsilon=1e-6)), axis=-1))

        mod = check(
            [(2, 9, 40)],
            [(40,), (40,)],
            build,
            lambda x, g, b: torch.softmax(torch.nn.functional.layer_norm(x, (40,), g, b, 1e-6), -1),
        )
        assert called(mod) == ["layer_norm", "softmax"]

    def test_of_groups(self) -> None:
        mod = check(
            [(2, 8, 5, 6)],
            [(8,), (8,)],
            lambda emit, x, g, b: emit(op.nn.group_norm(x, g, b, 4, channel_axis=1, axes=[2, 3])),
            lambda x, g, b: torch.nn.functional.group_norm(x, 4, g, b),
        )
        assert called(mod) == ["group_norm"]

    def test_of_groups_with_all_that_follows(self) -> None:
        def build(emit: Any, x: Any, y: Any, g: Any, b: Any, s: Any) -> Any:
            normal = emit(op.nn.group_norm(x, g, b, 4, channel_axis=1, axes=[2, 3]))
            scaled = emit(op.multiply(emit(op.nn.relu(normal)), emit(op.reshape(s, (8, 1, 1)))))
            return emit(op.add(y, scaled))

        def reference(x: Any, y: Any, g: Any, b: Any, s: Any) -> Any:
            return y + torch.relu(torch.nn.functional.group_norm(x, 4, g, b)) * s[:, None, None]

        mod = check([(2, 8, 5, 6), (2, 8, 5, 6)], [(8,), (8,), (8,)], build, reference)
        assert called(mod) == ["group_norm_relu_multiply_vector_add_tensor"]

    def test_along_other_axes_is_left_alone(self) -> None:
        mod = check(
            [(2, 9, 8)],
            [],
            lambda emit, x: emit(op.nn.softmax(x, axis=1)),
            lambda x: torch.softmax(x, 1),
        )
        assert kernels(mod) == []
        mod = check(
            [(2, 3, 4)],
            [(3, 4), (3, 4)],
            lambda emit, x, g, b: emit(op.nn.layer_norm(x, g, b, axes=[1, 2])),
            lambda x, g, b: torch.nn.functional.layer_norm(x, (3, 4), g, b),
        )
        assert kernels(mod) == []
