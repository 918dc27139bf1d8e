"""Scheduled GPU kernels as programs for the CPU: what a grid of threads does at once is done one after the other.

A schedule only reorders a loop nest and says which loops become threads. So the nest may be run as it is, in order;
what threads share is an array like any other. A thread that loads a tile together with others then loads all of it
itself: slow, with the same result. What this does not show is whether threads wait for each other where they must: that
is TVM's pass ``ThreadSync``, and needs the device.
"""

from __future__ import annotations

import json
from typing import Any

import tvm

_SERIAL, _THREADS, _NOTHING = 0, 4, 0
"""``tirx.ForKind``, and the node that means None."""
_GPU_MEMORY = {"shared", "shared.dyn", "local"}
_UNROLLING = "pragma_auto_unroll_max_step"


def as_loops(module: Any) -> tuple[Any, int]:
    """``module`` with every loop over threads serial and everything in ordinary memory, and how many those were."""
    content = json.loads(tvm.ir.save_json(module))
    loops = 0
    for node in content["nodes"]:
        data = node.get("data")
        if node["type"] == "tirx.For" and data["kind"] == _THREADS:
            data["kind"], data["thread_binding"] = _SERIAL, _NOTHING
            loops += 1
        elif node["type"] == "ffi.String" and data in _GPU_MEMORY:
            node["data"] = "global"
        elif node["type"] == "ffi.String" and data == _UNROLLING:
            node["data"] = "ignored"  # millions of instructions otherwise
    return tvm.ir.load_json(json.dumps(content)), loops
