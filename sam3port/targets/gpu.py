"""What GPUs have in common as targets."""

from __future__ import annotations

from typing import Any

from sam3port.targets.target import BuildTarget


class GpuTarget(BuildTarget):
    """Compiles without the device. Weights are prepared by this machine's CPU."""

    def optimise(self, module: Any) -> Any:
        from sam3port.kernels.cpu.default_schedule import default_schedule
        from sam3port.kernels.gpu.pipeline import optimise

        host = self.host()
        return optimise(module, self.target(), host, default_schedule(host))


def device_modules(executable: Any, kind: str) -> list[Any]:
    """The modules with code for the device in what ``tvm.compile`` returned."""
    found, waiting = [], [executable.mod]
    while waiting:
        module = waiting.pop()
        waiting.extend(module.imports)
        if module.kind == kind:
            found.append(module)
    return found
