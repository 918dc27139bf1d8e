"""The kernels that measure the machine do what their figures say."""

from __future__ import annotations

import time

import numpy as np
import pytest

from sam3port.bench import limit
from sam3port.kernels.cpu.formats.register_loops import SUMS


@pytest.mark.parametrize("threads", [1, 2])
def test_reading_reads_every_number(threads: int) -> None:
    import tvm

    from sam3port.kernels.cpu.formats.cpu import cpu_of
    from sam3port.machine.cpus import configure_threads
    from sam3port.targets.host import host_target

    configure_threads(threads)
    target = host_target(threads)
    lanes = cpu_of(target).lanes
    function = limit._read(threads, lanes).with_attr("global_symbol", "kernel")
    kernel = tvm.compile(tvm.IRModule({"kernel": function}), target=target)["kernel"]
    numbers = np.zeros(limit._FLOATS, np.float32)
    used = limit._FLOATS // (threads * SUMS * lanes) * threads * SUMS * lanes
    numbers[:used:1000] = 1
    out = tvm.runtime.empty((threads, SUMS * lanes), "float32")
    kernel(tvm.runtime.tensor(numbers), out)
    assert out.numpy().sum() == numbers.sum()
    assert limit._FLOATS - used < 10_000


def test_a_multiply_add_takes_the_time_of_arithmetic() -> None:
    """LLVM has not computed the sums beforehand: no machine does more than 1000 GFLOP/s on one core."""
    kernel = limit.limit_kernels(1)[limit.FLOAT32]
    kernel.run()
    started = time.perf_counter()
    kernel.run()
    assert kernel.amount / (time.perf_counter() - started) < 1e12
