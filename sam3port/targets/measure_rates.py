"""``python -m sam3port.targets.measure_rates``: prints how fast this processor's instructions are, as JSON.

A process of its own: one that dies of an instruction takes nobody along, and TVM is not loaded for what was measured
before.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from sam3port.machine.rates import BFLOAT16, FLOAT32, INT8, KINDS, MEASURED, Rates

_ROUNDS: Final = 200_000
"""Of a loop: about a millisecond, shorter than a neighbour's turn on a shared core."""
_TURNS: Final = 30
"""Each loop's best of so many counts: what disturbs makes slower, never faster."""


def main() -> None:
    """Prints one line."""
    print(json.dumps(measure().as_json()))


def measure() -> Rates:
    """All loops that this processor has the instructions for, in turns, on one core; well under a second of them."""
    from sam3port.targets.host import plain_host_target

    return measured(plain_host_target(1))


def measured(target: Any) -> Rates:
    """The same for a ``tvm.target.Target`` of this machine: what it has not is left out."""
    loops = {key: _prepared(target, *key) for key in _loops(target)}
    best = dict.fromkeys(loops, 0.0)
    for _ in range(_TURNS):
        for key, run in loops.items():
            best[key] = max(best[key], run())
    rates: dict[str, dict[int, float]] = {kind: {} for kind in KINDS}
    for (kind, bits, _), rate in best.items():
        rates[kind][bits] = max(rates[kind].get(bits, 0.0), round(rate, 1))
    return Rates(rates[FLOAT32], rates[BFLOAT16], rates[INT8], MEASURED)


Loop = tuple[str, int, str]
"""Type, bits of a register, and the feature that the instruction comes with (empty for float32)."""


def _loops(target: Any) -> list[Loop]:
    from tvm.target.codegen import target_has_features

    def has(*features: str) -> bool:
        return all(bool(target_has_features(feature, target)) for feature in features)

    found: list[Loop] = []
    if has("neon"):
        found.append((FLOAT32, 128, ""))
        found += [(BFLOAT16, 128, "bf16")] if has("bf16") else []
        return found + ([(INT8, 128, "dotprod")] if has("dotprod") else [])
    if has("avx"):
        found.append((FLOAT32, 256, ""))
    if has("avxvnni") or has("avx512vnni", "avx512vl"):
        found.append((INT8, 256, "avxvnni" if has("avxvnni") else "avx512vnni"))
    if has("avx512f"):
        found.append((FLOAT32, 512, ""))
        found += [(BFLOAT16, bits, "avx512bf16") for bits in (256, 512) if has("avx512bf16")]
        found += [(INT8, 512, "avx512vnni")] if has("avx512vnni") else []
    return found


def _prepared(target: Any, kind: str, bits: int, feature: str) -> Callable[[], float]:
    """The loop, compiled: a call runs it once and returns 10^9 operations a second."""
    import tvm

    from sam3port.kernels.cpu.formats.register_loops import SUMS, multiply_add, multiply_add_bytes, multiply_add_pairs

    lanes = bits // 32
    if kind == FLOAT32:
        function, operations = multiply_add(1, lanes, _ROUNDS), 2
        seeds: Any = np.full((2, lanes), 0.5, np.float32)
    elif kind == BFLOAT16:
        function, operations = multiply_add_pairs(1, lanes, _ROUNDS, feature), 4
        seeds = np.full((2, lanes), 0x3F003F00, np.uint32)  # 0.5 twice
    else:
        function, operations = multiply_add_bytes(1, lanes, _ROUNDS, feature), 8
        seeds = np.full((2, lanes), 0x01010101, np.uint32)
    module = tvm.IRModule({"kernel": function.with_attr("global_symbol", "kernel")})
    kernel = tvm.compile(module, target=_as_wide(target, bits))["kernel"]
    given = tvm.runtime.tensor(seeds)
    sums = tvm.runtime.empty((1, SUMS * lanes), "int32" if kind == INT8 else "float32")
    amount = operations * _ROUNDS * SUMS * lanes

    def run() -> float:
        started = time.perf_counter()
        kernel(given, sums)
        return amount / (time.perf_counter() - started) / 1e9

    return run


def _as_wide(target: Any, bits: int) -> Any:
    """The target, not to split a register of that many bits."""
    from sam3port.targets.host import changed

    return (
        changed(target, mattr=[*map(str, target.attrs.get("mattr", ())), "-prefer-256-bit"]) if bits > 256 else target
    )


if __name__ == "__main__":
    main()
