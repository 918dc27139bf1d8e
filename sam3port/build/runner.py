"""Runs a built component on arrays."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam3port.artifact import weights as parameters
from sam3port.artifact.hashes import sha256
from sam3port.artifact.interface import Arrays, TensorSpec
from sam3port.compiler.compiled_for import read_machine
from sam3port.compiler.errors import InputError
from sam3port.compiler.stage import LIBRARY, OBJECTS, PARAMETERS, RECORD, Stage
from sam3port.machine.cpus import configure_threads


class Compiled:
    """A component that ``sam3port build`` left in a folder.

    Uses every CPU that this process may run on (TVM alone takes half of them); ``TVM_NUM_THREADS`` sets another number.
    """

    def __init__(self, folder: Path) -> None:
        """Loads library and weights; object code that another machine's build left for this one is linked.

        Raises:
            InputError: nothing compiled lies in ``folder``, or it is for another machine.
            UsageError: it cannot be linked here.
        """
        import tvm
        from tvm import relax

        record = read_record(folder)
        if str(Stage.COMPILE) not in record["stages"]:
            raise InputError(f"{folder} was built until {list(record['stages'])[-1]} only", "build it without --until")
        self.name: str = record["component"]
        self.inputs = tuple(_spec(entry) for entry in record["inputs"])
        self.outputs = tuple(_spec(entry) for entry in record["outputs"])
        read_machine(folder).require(folder)
        configure_threads()
        device = _device(folder, record)
        self._machine = relax.VirtualMachine(tvm.runtime.load_module(str(_library(folder))), device)
        self._device = device
        self._weights = [self._tensor(tensor) for tensor in parameters.read(folder / PARAMETERS).values()]

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        """The outputs by name.

        Args:
            inputs: every input that the component declares, by name, with exactly its shape and dtype.

        Raises:
            InputError: a name, shape or dtype does not fit.
        """
        results = self.call(self.tensors(inputs))
        return {spec.name: result.numpy() for spec, result in zip(self.outputs, results, strict=True)}

    def tensors(self, inputs: Arrays) -> list[Any]:
        """The inputs on the device, for `call`.

        Raises:
            InputError: a name, shape or dtype does not fit.
        """
        return [self._tensor(array) for array in in_order(self.name, self.inputs, inputs)]

    def call(self, given: Sequence[Any]) -> Any:
        """The outputs on the device, in the declared order, from what `tensors` gave."""
        return self._machine["main"](*given, *self._weights)

    def observe(self, watch: Callable[[str, float], None]) -> None:
        """From now on tells ``watch`` the name of each function that a call has called, and how many seconds it took.

        On a GPU that would be the time until it was launched.
        """
        started = 0.0

        def instrument(_function: Any, name: str, before: bool, _result: Any, *_arguments: Any) -> int:
            nonlocal started
            now = time.perf_counter()
            if before:
                started = now
            else:
                watch(name, now - started)
            return 0  # go on

        self._machine.set_instrument(instrument)

    def _tensor(self, array: NDArray[np.generic]) -> Any:
        import tvm

        return tvm.runtime.tensor(np.asarray(array, order="C"), self._device)


def read_record(folder: Path) -> dict[str, Any]:
    """What a build wrote about the component in ``folder``.

    Raises:
        InputError: it is not there.
    """
    file = folder / RECORD
    try:
        record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except OSError:
        raise InputError(
            f"{folder} holds no built component ({RECORD} is missing)", "`sam3port build` makes it"
        ) from None
    except ValueError as error:
        raise InputError(f"{file} is damaged: {error}", "build it again") from None
    return record


def in_order(component: str, specs: Sequence[TensorSpec], given: Arrays) -> list[NDArray[np.generic]]:
    """The arrays of ``given`` in the order of ``specs``.

    Raises:
        InputError: names, shapes or dtypes differ; it says which.
    """
    expected = {spec.name for spec in specs}
    if expected != set(given):
        missing, unknown = sorted(expected - set(given)), sorted(set(given) - expected)
        parts = [
            f"{what} {', '.join(names)}" for what, names in (("lacks", missing), ("has unknown", unknown)) if names
        ]
        raise InputError(
            f"{component}: the input {' and '.join(parts)}", f"it takes {', '.join(s.name for s in specs)}"
        )
    for spec in specs:
        array = given[spec.name]
        if array.shape != spec.shape or array.dtype.name != spec.dtype:
            raise InputError(
                f"{component}: {spec.name} is {array.dtype.name}{list(array.shape)},"
                f" it was built for {spec.dtype}{list(spec.shape)}",
                "build it for that shape, or pad to the capacity that it was built for",
            )
    return [given[spec.name] for spec in specs]


def _device(folder: Path, record: dict[str, Any]) -> Any:
    import tvm

    device = tvm.device(record["device"], 0)
    if not device.exist:
        raise InputError(
            f"{folder} runs on a {record['device']} device, and this machine has none",
            "run it where there is one, or build for another: --target cpu",
        )
    return device


def _library(folder: Path) -> Path:
    """The library, linked if there is object code in its place."""
    from sam3port.runtime.linking import linked

    if (folder / LIBRARY).exists():
        return folder / LIBRARY
    return linked(folder / OBJECTS, sha256(folder / OBJECTS))


def _spec(entry: dict[str, Any]) -> TensorSpec:
    return TensorSpec(entry["name"], tuple(entry["shape"]), entry["dtype"], entry["meaning"])
