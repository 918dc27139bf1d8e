"""How kernels are started: every one by threads, by no more than the device has."""

from __future__ import annotations

import math
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx
from tvm.s_tir import SBlockRealize
from tvm.target import Target

from sam3port.errors import Sam3PortError


class KernelError(Sam3PortError):
    """A kernel cannot be run on the device that it was made for."""


def check_launches(mod: tvm.IRModule, target: Target) -> None:
    """Looks at every function of `mod` that is made of loops.

    Not a pass of TVM: what a pass raises comes out as a RuntimeError.

    Raises:
        KernelError: a kernel is left serial, in whole or in part, or takes more threads than `target` has in a block.
    """
    for name, function in mod.functions_items():
        if isinstance(function, tirx.PrimFunc):
            _check(name.name_hint, function, most_threads(target), target.kind.name)


def most_threads(target: Target) -> int:
    """Threads that a block (a threadgroup, in Metal's words) of `target` may have."""
    return int(target.attrs["max_num_threads"])


def fits(function: tirx.PrimFunc, target: Target) -> bool:
    """Whether every launch of `function` has threads, and no more than `target` has."""
    return all(0 < threads(launch) <= most_threads(target) for launch in launches(function))


def threads(launch: dict[str, int]) -> int:
    """Threads of a block, 0 when there is none."""
    sizes = [extent for tag, extent in launch.items() if tag.startswith("threadIdx")]
    return math.prod(sizes) if sizes else 0


def _check(name: str, function: tirx.PrimFunc, limit: int, kind: str) -> None:
    for index, launch in enumerate(launches(function)):
        count = threads(launch)
        if count == 0:
            raise KernelError(
                f"part {index} of the kernel {name} has no threads: {kind} would run it on one",
                "no rule of sam3port/kernels/gpu/schedule.py fits it; add one, or another legalisation",
            )
        if count > limit:
            raise KernelError(f"the kernel {name} takes {count} threads in a block, {kind} has {limit}")


def launches(function: tirx.PrimFunc) -> list[dict[str, int]]:
    """For each loop nest of `function`, which becomes one launch on the device, how far each thread index runs.

    A block of work that starts its threads itself, as TVM's sort does, is one launch with all its indices.
    """
    body = function.body
    if isinstance(body, SBlockRealize):
        body = body.block.body
    return [_threads(nest) for nest in _statements(body)]


def _statements(statement: Any) -> list[Any]:
    if isinstance(statement, tirx.SeqStmt):
        return [part for child in statement.seq for part in _statements(child)]
    return [statement]


def _threads(nest: Any) -> dict[str, int]:
    found: dict[str, int] = {}

    def note(tag: str, extent: Any) -> None:
        # One that is known only at run time is not checked for its size.
        size = int(extent.value) if isinstance(extent, tirx.IntImm) else 1
        found[tag] = max(found.get(tag, 1), size)

    def loop(node: Any) -> None:
        if node.kind == tirx.ForKind.THREAD_BINDING:
            note(str(node.thread_binding.thread_tag), node.extent)

    def attribute(node: Any) -> None:
        if node.attr_key == "thread_extent":
            note(str(node.node.thread_tag), node.value)

    tvm_ffi.structural_walk(nest, [(tirx.For, loop), (tirx.AttrStmt, attribute)], order="post")
    return found
