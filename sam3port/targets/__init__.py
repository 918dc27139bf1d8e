"""The machines to compile for, one file each, delivered through the hook ``sam3port_targets``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sam3port.hookspecs import hookimpl

if TYPE_CHECKING:
    from sam3port.targets.target import BuildTarget


@hookimpl
def sam3port_targets() -> list[type[BuildTarget]]:
    from sam3port.targets.cpu import CpuTarget
    from sam3port.targets.cuda import CudaTarget
    from sam3port.targets.metal import MetalTarget

    return [CpuTarget, CudaTarget, MetalTarget]
