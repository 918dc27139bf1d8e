"""Schedules: whichever fits computes the same, and what does not fit the registers or caches is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm.target import Target

from sam3port.kernels.cpu.attention.attention import attention_func
from sam3port.kernels.cpu.attention.spec import AttentionSpec
from sam3port.kernels.cpu.convolutions import convolution
from sam3port.kernels.cpu.convolutions.convolution import ConvolutionSpec
from sam3port.kernels.cpu.convolutions.transposed_convolution import transposed_convolution_func
from sam3port.kernels.cpu.formats.cpu import Cpu, cpu_of
from sam3port.kernels.cpu.products import gemm
from sam3port.kernels.cpu.products.matmul import matmul_func
from sam3port.kernels.cpu.scheduling.schedules import AttentionSchedule, ProductSchedule
from sam3port.kernels.cpu.workloads.workload import (
    AttentionWork,
    ConvolutionWork,
    LinearWork,
    MatmulWork,
    TransposedConvolutionWork,
    Workload,
)
from tests.kernels.running import CPU, IN_FLOAT32, Array, assert_as_exact, random, run

torch = pytest.importorskip("torch")
functional = torch.nn.functional

CPUS = ("znver3", "x86-64-v4", "x86-64-v3", "x86-64")
WORKLOADS: tuple[Workload, ...] = (
    LinearWork(5184, 4736, 1024, ("add_vector", "gelu")),
    LinearWork(3, 7, 5),
    MatmulWork(16, 24, 576, 64, True),
    ConvolutionWork(ConvolutionSpec(1, 256, 72, 72, 256, (3, 3), padding=(1, 1, 1, 1)), ("add_vector",)),
    TransposedConvolutionWork(1, 1024, (72, 72), 512, (2, 2)),
    AttentionWork(AttentionSpec(9, 16, 576, 576, 64, 64, 0.125)),
    AttentionWork(AttentionSpec(1, 8, 5, 300, 32, 136, 0.2, bias=(1, 1, 5, 300))),
)


def cpu_named(cpu: str) -> Cpu:
    return cpu_of(Target({"kind": "llvm", "mcpu": cpu, "mtriple": "x86_64-linux-gnu", "num-cores": 2}))


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.key.split()[0])
def test_everything_in_a_space_fits_and_the_default_is_in_it(cpu: str, workload: Workload) -> None:
    machine = cpu_named(cpu)
    default, *others = workload.schedules(machine)
    assert default == workload.default(machine)
    assert others and len({default, *others}) == len(others) + 1
    assert [each for each in (default, *others) if workload.problem(each, machine)] == []


def test_equal_work_has_an_equal_key_and_other_work_another() -> None:
    keys = [workload.key for workload in WORKLOADS]
    assert len(set(keys)) == len(keys)
    assert LinearWork(3, 7, 5).key == "linear 3x7x5 float32"
    assert LinearWork(3, 7, 5, ("relu",)).key != LinearWork(3, 7, 5).key
    spec = AttentionSpec(1, 2, 3, 4, 5, 6, 0.1)
    assert AttentionWork(spec).key != AttentionWork(replace(spec, layouts=("BLHD",) * 4)).key


FITS = ProductSchedule(6, 2, 4, 96)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"rows": 7}, "needs 17 registers of 16"),
        ({"vectors": 3}, "needs 22 registers of 16"),
        ({"rows": 1, "vectors": 7, "chunk": 256}, "leaves the first-level cache"),
        ({"chunk": 512}, "inexact"),
        ({"chunk": 90, "unroll": 4}, "no whole number of rounds"),
        ({"block_rows": 768}, "leave the second-level cache"),
        ({"window": 1 << 17}, "leave the second-level cache"),
        ({"rows": 0}, "not positive"),
        ({"unroll": -4}, "not positive"),
        ({"halvings": 2}, "halved once or not at all"),
        ({"halvings": 1, "block_rows": 1536}, "leave the second-level cache"),
    ],
)
def test_a_product_that_does_not_fit_is_refused(changes: dict[str, int], problem: str) -> None:
    cpu = cpu_named("znver3")
    assert FITS.problem(cpu) is None
    assert problem in (replace(FITS, **changes).problem(cpu) or "")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"rows": 8}, "registers of 16"),
        ({"value_vectors": 3}, "registers of 16"),
        ({"block_keys": 8}, "smaller than a tile"),
        ({"block_queries": 4}, "smaller than a tile"),
        ({"block_queries": 4096}, "second-level cache"),
        ({"block_keys": 0}, "not positive"),
    ],
)
def test_an_attention_that_does_not_fit_is_refused(changes: dict[str, int], problem: str) -> None:
    fits, cpu = AttentionSchedule(6, 2, 2, 4, 96, 256), cpu_named("znver3")
    assert fits.problem(cpu, 64, 64) is None
    assert problem in (replace(fits, **changes).problem(cpu, 64, 64) or "")


def test_the_other_kind_of_schedule_is_refused() -> None:
    assert WORKLOADS[0].problem(AttentionSchedule(6, 2, 2, 4, 96, 256), CPU)
    assert WORKLOADS[-1].problem(FITS, CPU)
    assert WORKLOADS[2].problem(replace(FITS, halvings=1), CPU)


def schedules(workload: Workload) -> Any:
    return st.sampled_from(workload.schedules(CPU))


def chosen(data: st.DataObject, workload: Workload) -> Any:
    return data.draw(schedules(workload), label=workload.key)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(m=st.integers(1, 130), n=st.integers(1, 150), k=st.integers(1, 600), data=st.data())
def test_linear(m: int, n: int, k: int, data: st.DataObject) -> None:
    schedule = chosen(data, LinearWork(m, n, k))
    x, weight = random(m, m, k), random(n, n, k)
    packed = gemm.pack_weight(weight, IN_FLOAT32, schedule)
    made = run(gemm.pack_weight_func(n, k, IN_FLOAT32, schedule=schedule), [weight], packed.shape)
    np.testing.assert_array_equal(made, packed)
    ours = run(gemm.linear_func(m, n, k, IN_FLOAT32, schedule=schedule), [x, packed], (m, n))
    exact = x.astype(np.float64) @ weight.astype(np.float64).T
    assert_as_exact(ours, x @ weight.T, exact, terms=float((np.abs(x) @ np.abs(weight.T)).max()))


@settings(max_examples=4, deadline=None, derandomize=True)
@given(m=st.integers(1, 130), n=st.integers(1, 150), k=st.integers(1, 300), turned=st.booleans(), data=st.data())
def test_matmul(m: int, n: int, k: int, turned: bool, data: st.DataObject) -> None:
    schedule = chosen(data, MatmulWork(2, m, n, k, turned))
    a, b = random(0, 2, m, k), random(1, 2, *((n, k) if turned else (k, n)))
    right = b.transpose(0, 2, 1) if turned else b
    ours = run(matmul_func(2, m, n, k, IN_FLOAT32, transpose_b=turned, schedule=schedule), [a, b], (2, m, n))
    exact = a.astype(np.float64) @ right.astype(np.float64)
    assert_as_exact(ours, a @ right, exact, terms=float((np.abs(a) @ np.abs(right)).max()))


@settings(max_examples=5, deadline=None, derandomize=True)
@given(channels=st.integers(1, 200), features=st.integers(1, 40), size=st.integers(3, 30), data=st.data())
def test_convolution(channels: int, features: int, size: int, data: st.DataObject) -> None:
    spec = ConvolutionSpec(1, channels, size, size + 3, features, (3, 3), padding=(1, 1, 1, 1))
    schedule = chosen(data, ConvolutionWork(spec))
    x, weight = random(0, 1, channels, size, size + 3), random(1, features, channels, 3, 3)
    packed = convolution.pack_convolution(weight, IN_FLOAT32, schedule)
    function = convolution.pack_convolution_func(features, channels, (3, 3), IN_FLOAT32, schedule)
    np.testing.assert_array_equal(run(function, [weight], packed.shape), packed)
    function = convolution.convolution_func(spec, IN_FLOAT32, schedule=schedule)
    ours = run(function, [x, packed], (1, features, spec.pixels))

    def reference(dtype: Any, weight: Array = weight) -> Array:
        tensors = [torch.from_numpy(each).to(dtype) for each in (x, weight)]
        return np.asarray(functional.conv2d(*tensors, padding=1).numpy()).reshape(ours.shape)

    assert_as_exact(ours, reference(torch.float32), reference(torch.float64), ratio=3.0)


@settings(max_examples=3, deadline=None, derandomize=True)
@given(channels=st.integers(1, 300), features=st.integers(1, 12), size=st.integers(1, 20), data=st.data())
def test_transposed_convolution(channels: int, features: int, size: int, data: st.DataObject) -> None:
    schedule = chosen(data, TransposedConvolutionWork(1, channels, (size, size + 1), features, (2, 2)))
    x, weight = random(0, 1, channels, size, size + 1), random(1, channels, features, 2, 2)
    packed = convolution.pack_transposed(weight, IN_FLOAT32, schedule)
    function = convolution.pack_transposed_func(channels, features, (2, 2), IN_FLOAT32, schedule)
    np.testing.assert_array_equal(run(function, [weight], packed.shape), packed)
    function = transposed_convolution_func(
        1, channels, (size, size + 1), features, (2, 2), IN_FLOAT32, schedule=schedule
    )
    ours = run(function, [x.reshape(1, channels, -1), packed], (1, features, size * 2, size * 2 + 2))

    def reference(dtype: Any) -> Array:
        tensors = [torch.from_numpy(each).to(dtype) for each in (x, weight)]
        return np.asarray(functional.conv_transpose2d(*tensors, stride=2).numpy())

    assert_as_exact(ours, reference(torch.float32), reference(torch.float64), ratio=3.0)


@settings(max_examples=5, deadline=None, derandomize=True)
@given(queries=st.integers(1, 220), keys=st.integers(1, 700), features=st.integers(1, 70), data=st.data())
def test_attention(queries: int, keys: int, features: int, data: st.DataObject) -> None:
    spec = AttentionSpec(1, 2, queries, keys, features, features, scale=features**-0.5)
    schedule = chosen(data, AttentionWork(spec))
    q, k, v = (random(seed, 1, 2, length, features) for seed, length in enumerate((queries, keys, keys)))
    ours = run(attention_func(spec, IN_FLOAT32, schedule), [q, k, v], q.shape)

    def reference(dtype: Any) -> Array:
        q_, k_, v_ = (torch.from_numpy(each).to(dtype) for each in (q, k, v))
        weights = torch.softmax(q_ @ k_.transpose(-1, -2) * spec.scale, -1)
        return np.asarray((weights @ v_).numpy())

    assert_as_exact(ours, reference(torch.float32), reference(torch.float64))
