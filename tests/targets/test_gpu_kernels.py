"""What the pipeline for GPUs refuses, and its own legalisations."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import tvm
from tvm import relax, te
from tvm.target import Target

from sam3port.errors import Sam3PortError
from sam3port.kernels.gpu.launch import KernelError, check_launches, fits
from sam3port.kernels.gpu.legalise import LEGALISATIONS
from sam3port.kernels.gpu.metal_source import check_shared_memory, shared_memory
from sam3port.kernels.gpu.schedule import schedule, schedule_function
from sam3port.targets.imports import exchange
from tests.compiled import compiled
from tests.targets.loops import as_loops

CUDA = Target({"kind": "cuda", "arch": "sm_80", "max_num_threads": 256}, {"kind": "llvm"})
METAL = Target({"kind": "metal", "max_num_threads": 256}, {"kind": "llvm", "mtriple": "arm64-apple-macos"})


def doubled(rows: int = 300) -> tvm.tirx.PrimFunc:
    given = te.placeholder((rows, 7), name="given")
    return te.create_prim_func([given, te.compute((rows, 7), lambda i, j: given[i, j] * 2, name="doubled")])


def product(n: int = 96) -> tvm.tirx.PrimFunc:
    a, b = te.placeholder((n, n), name="a"), te.placeholder((n, n), name="b")
    k = te.reduce_axis((0, n), name="k")
    return te.create_prim_func([a, b, te.compute((n, n), lambda i, j: te.sum(a[i, k] * b[k, j], axis=k), name="c")])


def test_a_serial_kernel_is_refused_by_name() -> None:
    module = tvm.IRModule({"left_alone": doubled()})
    with pytest.raises(KernelError, match="left_alone has no threads"):
        check_launches(module, CUDA)
    check_launches(schedule(CUDA)(module), CUDA)


def test_a_kernel_that_is_serial_in_part_is_refused() -> None:
    """Two loop nests are two launches; the second one has no threads."""
    given = te.placeholder((300,), name="given")
    first = te.compute((300,), lambda i: given[i] * 2, name="first")
    second = te.compute((300,), lambda i: first[299 - i] + 1, name="second")
    trial = tvm.s_tir.Schedule(te.create_prim_func([given, second]))
    loop = trial.get_loops(trial.get_sblock("first"))[0]
    outer, inner = trial.split(loop, [None, 64])
    trial.bind(outer, "blockIdx.x")
    trial.bind(inner, "threadIdx.x")
    with pytest.raises(KernelError, match="part 1 of the kernel halves"):
        check_launches(tvm.IRModule({"halves": trial.mod["main"]}), CUDA)


def test_too_many_threads_are_refused() -> None:
    trial = tvm.s_tir.Schedule(doubled())
    outer, inner = trial.split(trial.fuse(*trial.get_loops(trial.get_sblock("doubled"))), [None, 512])
    trial.bind(outer, "blockIdx.x")
    trial.bind(inner, "threadIdx.x")
    with pytest.raises(KernelError, match="takes 512 threads in a block"):
        check_launches(tvm.IRModule({"crowded": trial.mod["main"]}), METAL)


@pytest.mark.parametrize("target", [CUDA, METAL], ids=["cuda", "metal"])
def test_a_product_is_tiled_and_right(target: Target) -> None:
    """On Metal, dlight's own rule for products ends the process."""
    scheduled = schedule_function(product(), target)
    assert fits(scheduled, target)
    assert "shared" in scheduled.script()
    module, loops = as_loops(tvm.IRModule({"main": scheduled.with_attr("global_symbol", "main")}))
    assert loops > 4
    a, b = (np.random.default_rng(seed).standard_normal((96, 96), dtype=np.float32) for seed in (0, 1))
    out = tvm.runtime.tensor(np.full((96, 96), np.nan, np.float32))
    compiled(module, "llvm")["main"](tvm.runtime.tensor(a), tvm.runtime.tensor(b), out)
    np.testing.assert_allclose(out.numpy(), a.astype("float64") @ b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_scatter_writes_the_last_update(axis: int) -> None:
    """As PyTorch on a CPU does; places that two updates are meant for are among them, and negative ones."""
    random = np.random.default_rng(0)
    data, updates = random.standard_normal((6, 5)).astype("f4"), random.standard_normal((4, 3)).astype("f4")
    indices = random.integers(-data.shape[axis], data.shape[axis], (4, 3))
    expected = data.copy()
    for place in np.ndindex(4, 3):
        there = list(place)
        there[axis] = int(indices[place])
        expected[tuple(there)] = updates[place]
    builder = relax.BlockBuilder()
    given = [relax.Var(name, relax.TensorType(array.shape, str(array.dtype)))
             for name, array in (("data", data), ("indices", indices), ("updates", updates))]  # fmt: skip
    with builder.function("main", given):
        with builder.dataflow():
            out = builder.emit_output(relax.op.scatter_elements(*given, axis=axis))
        builder.emit_func_output(out)
    module = relax.transform.LegalizeOps(LEGALISATIONS)(builder.get())
    assert "scatter_elements" in {variable.name_hint for variable in module.get_global_vars()}
    machine = relax.VirtualMachine(compiled(module, "llvm"), tvm.cpu())
    found = machine["main"](*(tvm.runtime.tensor(array) for array in (data, indices, updates)))
    np.testing.assert_array_equal(found.numpy(), expected)


def test_threadgroup_memory_is_counted() -> None:
    source = """
kernel void small(device float* a [[ buffer(0) ]]) {
  threadgroup float tile[64];
  threadgroup half4 more[8];
}
kernel void large(device float* a [[ buffer(0) ]]) {
  threadgroup float tile[8193];
}
"""
    assert shared_memory(source) == {"small": 64 * 4 + 8 * 8, "large": 8193 * 4}
    with pytest.raises(KernelError, match="large takes 32772 bytes"):
        check_shared_memory(source, 32 << 10)


def text(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content


def packed(form: bytes, code: bytes) -> bytes:
    """What TVM writes, with another module before it that has the same word in it."""
    module = text(form) + b"functions" + text(code)
    return text(text(b"cuda") + text(b"cuda in another module") + text(b"cuda") + text(module) + b"the end")


def test_source_is_exchanged_for_machine_code() -> None:
    assert exchange(packed(b"cuda", b"int x;"), b"int x;", b"MACHINE") == packed(b"fatbin", b"MACHINE")
    with pytest.raises(Sam3PortError, match="form that is not known"):
        exchange(packed(b"cuda", b"int x;"), b"int y;", b"MACHINE")
    with pytest.raises(Sam3PortError, match="form that is not known"):
        exchange(packed(b"cuda", b"int x;")[:-1], b"int x;", b"MACHINE")
