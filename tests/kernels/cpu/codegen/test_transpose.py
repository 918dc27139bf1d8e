"""A square of elements turned in registers, for every width that a target may have."""

from __future__ import annotations

import numpy as np
import pytest
from tvm.target import Target

from sam3port.kernels.cpu.codegen import emit
from sam3port.kernels.cpu.codegen.transpose import transposed
from tests.kernels.running import HOST, random, run


@pytest.mark.parametrize("lanes", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("target", [HOST, Target({"kind": "llvm"})], ids=["host", "generic"])
def test_transposed(lanes: int, target: Target) -> None:
    def body(x: emit.Buffer, out: emit.Buffer) -> None:
        rows = [emit.bind(emit.load(x, [i, 0], lanes)) for i in range(lanes)]
        for i, column in enumerate(transposed(rows)):
            emit.store(out, column, [i, 0], lanes)

    shape = (lanes, lanes)
    function = emit.primfunc([("x", shape), ("out", shape)], body)
    x = random(lanes, *shape)
    np.testing.assert_array_equal(run(function, [x], shape, target), x.T)
