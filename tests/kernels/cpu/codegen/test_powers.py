"""Powers of two by AVX-512's instructions, where the CPU has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sam3port.kernels.cpu.codegen import emit, powers
from tests.kernels.running import CPU, Array, run

pytestmark = pytest.mark.skipif(not CPU.scales_exponents, reason="this CPU has no AVX-512 for exponents")


def evaluate(power: Callable[[Any], Any], x: Array) -> Array:
    def body(source: Any, out: Any) -> None:
        with powers.imported(), emit.serial(len(x) // powers.LANES) as i:
            at = [i * powers.LANES]
            emit.store(out, power(emit.bind(emit.load(source, at, powers.LANES))), at, powers.LANES)

    return run(emit.primfunc([("x", x.shape), ("out", x.shape)], body), [x.astype(np.float32)], x.shape)


@pytest.mark.parametrize(("power", "allowed"), [(powers.exp2, 2.0**-23), (powers.exp2_coarse, 3e-6)])
def test_close_to_float64(power: Callable[[Any], Any], allowed: float) -> None:
    x = np.linspace(-126, 0, 1 << 17).astype(np.float32)
    exact = np.exp2(x.astype(np.float64))
    assert (np.abs(evaluate(power, x) - exact) / exact).max() <= allowed


@pytest.mark.parametrize("power", [powers.exp2, powers.exp2_coarse])
def test_weights_of_hidden_keys_are_exactly_zero(power: Callable[[Any], Any]) -> None:
    x = np.zeros(powers.LANES, np.float32)
    x[:4] = -np.inf, -1e30, -200.0, np.nan
    result = evaluate(power, x)
    np.testing.assert_array_equal(result[:4], np.float32([0, 0, 0, np.nan]))
    np.testing.assert_allclose(result[4:], 1, rtol=3e-6)
