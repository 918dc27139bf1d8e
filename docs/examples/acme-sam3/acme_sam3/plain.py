"""A target: this machine's CPU with the loops that TVM writes by itself, to see what our own kernels are worth."""

from typing import Any, ClassVar

from sam3port.targets.target import BuildTarget


class PlainTarget(BuildTarget):
    """No kernels of anybody's: TVM's operators, fused."""

    name: ClassVar[str] = "plain"
    summary: ClassVar[str] = "this machine's CPU, by TVM's own loops alone"
    device: ClassVar[str] = "cpu"

    def target(self) -> Any:
        return self.host()  # the tvm.target.Target of the CPU that this runs on

    def optimise(self, module: Any) -> Any:
        from tvm import relax

        with self.target():
            return relax.get_pipeline("zero")(module)

    def identity(self) -> str:
        from sam3port.machine.processor import running

        return f"plain {self.dtype} {running()!r}"  # what was built on one CPU is not taken for another
