"""TVM's targets of processors that are here, or described: LLVM's name, every feature, and what is fast of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sam3port.machine.cpus import usable_cpus
from sam3port.machine.names import llvm_name
from sam3port.machine.processor import Processor, assumed, running
from sam3port.machine.rates import rates_of


def host_target(cores: int | None = None) -> Any:
    """The ``tvm.target.Target`` of the processor that runs this, as fast as it was measured to be.

    Args:
        cores: to find work for; all that this process may use unless given.
    """
    return _fast_target(running(), cores or usable_cpus())


def assumed_target(more: Iterable[str] = ()) -> Any:
    """The ``tvm.target.Target`` to build for unless told otherwise: the running processor, or that of SAM3PORT_CPUINFO.

    Args:
        more: features that the user adds (``+avx2``) or takes away; they have the last word.

    Raises:
        UsageError: SAM3PORT_CPUINFO names no description of a processor.
    """
    return _fast_target(assumed(), usable_cpus(), more)


def plain_host_target(cores: int) -> Any:
    """The ``tvm.target.Target`` of the processor that runs this, before anything was measured."""
    return _target(running(), cores, [])


def changed(target: Any, **attributes: Any) -> Any:
    """A ``tvm.target.Target`` like another one but for some of what it was made from."""
    import tvm

    described: dict[str, Any] = json.loads(str(target))
    made_from = {key: value for key, value in described.items() if key not in {"tag", "keys"}}
    # What TVM itself derives from the rest.
    plain = {key: value for key, value in made_from.items() if not key.startswith("feature.")}
    return tvm.target.Target({**plain, **attributes})


def cpu_name(processor: Processor) -> str:
    """LLVM's name: its own of the processor that it runs on, else the one for what is described."""
    from tvm.target import codegen

    if processor == running() and (name := str(codegen.llvm_get_system_cpu())) != "generic":
        return name
    return llvm_name(processor)


def _fast_target(processor: Processor, cores: int, more: Iterable[str] = ()) -> Any:
    return _target(processor, cores, [*rates_of(processor).attributes(), *more])


def _target(processor: Processor, cores: int, more: list[str]) -> Any:
    """LLVM's name alone would promise what a hypervisor may hide: it goes by the number of the model. What is lacking
    comes after what is there, since a feature brings along those that it builds on."""
    import tvm

    described: dict[str, Any] = {"kind": "llvm", "mcpu": cpu_name(processor), "num-cores": cores}
    if triple := _triple(processor):
        described["mtriple"] = triple
    if attributes := [*processor.offered, *processor.lacking, *more]:
        described["mattr"] = attributes
    return tvm.target.Target(described)


def _triple(processor: Processor) -> str:
    """LLVM's triple of a processor in another kind of machine than this one; empty for this kind."""
    here = running()
    if (processor.system, processor.machine) == (here.system, here.machine):
        return ""
    systems = {"Darwin": "apple-macos", "Windows": "pc-windows-msvc"}
    return f"{processor.machine}-{systems.get(processor.system, 'linux-gnu')}"
