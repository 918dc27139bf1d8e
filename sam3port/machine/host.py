"""TVM's targets of processors that are here, or described: LLVM's name, and every feature that is there or lacking."""

from __future__ import annotations

from typing import Any

from sam3port.machine.cpus import usable_cpus
from sam3port.machine.names import llvm_name
from sam3port.machine.processor import Processor, assumed, running


def host_target(cores: int | None = None) -> Any:
    """The ``tvm.target.Target`` of the processor that runs this.

    Args:
        cores: to find work for; all that this process may use unless given.
    """
    return target_of(running(), cores or usable_cpus())


def target_of(processor: Processor, cores: int = 0) -> Any:
    """The ``tvm.target.Target`` of a processor.

    LLVM's name alone would promise what a hypervisor may hide: it goes by the number of the model. What is lacking
    comes last, since a feature brings along those that it builds on.

    Args:
        processor: the running one, or one that is described.
        cores: that it has; 0 where nobody knows, then the kernels have a usual number.
    """
    import tvm

    described: dict[str, Any] = {"kind": "llvm", "mcpu": cpu_name(processor)}
    if triple := triple_of(processor):
        described["mtriple"] = triple
    if attributes := [*processor.offered, *processor.lacking]:
        described["mattr"] = attributes
    if cores:
        described["num-cores"] = cores
    return tvm.target.Target(described)


def assumed_target() -> Any:
    """The ``tvm.target.Target`` to build for unless told otherwise: the running processor, or that of SAM3PORT_CPUINFO.

    Raises:
        UsageError: SAM3PORT_CPUINFO names no description of a processor.
    """
    processor = assumed()
    return target_of(processor, usable_cpus())


def cpu_name(processor: Processor) -> str:
    """LLVM's name: its own of the processor that it runs on, else the one for what is described."""
    from tvm.target import codegen

    if processor == running() and (name := str(codegen.llvm_get_system_cpu())) != "generic":
        return name
    return llvm_name(processor)


def triple_of(processor: Processor) -> str:
    """LLVM's triple of a processor in another kind of machine than this one; empty for this kind."""
    here = running()
    if (processor.system, processor.machine) == (here.system, here.machine):
        return ""
    systems = {"Darwin": "apple-macos", "Windows": "pc-windows-msvc"}
    return f"{processor.machine}-{systems.get(processor.system, 'linux-gnu')}"
