"""Compiles TIR functions and runs them on numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax
from tvm.target import Target

from sam3port.kernels.cpu.formats.cpu import Cpu, cpu_of
from sam3port.kernels.cpu.formats.float32 import FLOAT32
from sam3port.kernels.cpu.formats.format import Arithmetic
from sam3port.targets.host import host_target
from tests.compiled import compiled

Array = npt.NDArray[Any]

HOST = host_target(2)
CPU: Cpu = cpu_of(HOST)
IN_FLOAT32 = Arithmetic(CPU, FLOAT32)


def compile_function(function: Any, target: Target = HOST) -> Any:
    module = tvm.IRModule({"kernel": function.with_attr("global_symbol", "kernel")})
    return compiled(module, target)["kernel"]


def run(function: Any, inputs: Sequence[Array], shape: Sequence[int], target: Target = HOST) -> Array:
    """The output of `function`, which takes it last; it starts as NaN, so that what is not written shows."""
    out = tvm.runtime.tensor(np.full(shape, np.nan, dtype=np.float32))
    compile_function(function, target)(*[tvm.runtime.tensor(np.ascontiguousarray(x)) for x in inputs], out)
    return np.asarray(out.numpy())


def random(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def assert_as_exact(ours: Array, theirs: Array, exact: Array, ratio: float = 2.0, terms: float | None = None) -> None:
    """`ours` is no further from float64 than `ratio` times a plain float32 computation, at worst and on average.

    Args:
        terms: size of what is summed on the way, when it is more than the largest result: with few elements, luck
            decides whose last rounding is the better one, so one rounding of that size is granted.
    """
    assert not np.isnan(ours).any(), "an element was not written, or is NaN"
    size = terms if terms is not None else float(np.abs(exact).max())
    grain = size * 2.0**-24
    for measure in (np.max, np.mean):
        error, allowed = measure(np.abs(ours - exact)), ratio * measure(np.abs(theirs - exact)) + grain
        assert error <= allowed, f"{measure.__name__} error {error:.3g}, allowed {allowed:.3g}"


def kernels_called(function: relax.Function) -> list[str]:
    """Names of the functions that `function` calls by call_tir, in order, without the numbers that tell them apart."""
    names = []
    for block in function.body.blocks:
        for binding in block.bindings:
            call = binding.value
            if isinstance(call, relax.Call) and getattr(call.op, "name", "") == "relax.call_tir":
                names.append(call.args[0].name_hint.rstrip("0123456789"))
    return names
