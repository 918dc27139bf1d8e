"""The artifact's library at work: its functions called by name, with tensors that stay on the device."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from textwrap import shorten
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from sam3port.artifact import weights as parameters
from sam3port.artifact.manifest import BUILD_AGAIN, MANIFEST, components
from sam3port.errors import Sam3PortError, UsageError
from sam3port.machine.cpus import configure_threads
from sam3port.runtime.artifact import Artifact, device
from sam3port.runtime.linking import linked
from sam3port.runtime.tensors import borrowed, copied

Handles = Mapping[str, Any]
"""TVM's tensors by name, on the device."""

_LONGEST_LINE: Final = 240
_Result = TypeVar("_Result")


class Engine:
    """Library and weights of an artifact. Safe to use from several threads.

    Everything of TVM runs in one thread of its own: each thread that calls TVM would start a pool of threads, and calls
    at the same time would only share the same CPUs.
    """

    def __init__(self, artifact: Artifact, threads: int | None = None) -> None:
        """
        Args:
            artifact: checked.
            threads: of the CPU; all that this process may use (or TVM_NUM_THREADS) unless given.

        Raises:
            UsageError: the device is absent, or the library does not hold what the manifest says.
        """
        self._artifact = artifact
        self._entries = artifact.manifest.entries
        self._process = os.getpid()
        self._worker = ThreadPoolExecutor(1, "sam3port-engine")
        self._in_worker(lambda: self._load(threads))

    def call(self, entry: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Runs a function of the library.

        Args:
            entry: ``encode_image``, ``encode_text``, ``ground`` or ``click``.
            given: its inputs by name, each an array of exactly the declared shape and dtype or an earlier result.
                Others are left alone.

        Returns:
            its outputs by name, on the device.

        Raises:
            Sam3PortError: the device failed (its memory is full, for example).
            UsageError: called in another process than the one that loaded it; the manifest was edited.
        """
        return self._in_worker(lambda: self._call(entry, given))

    def arrays(self, handles: Handles, *names: str) -> list[NDArray[Any]]:
        """Copies of these tensors in main memory."""
        return self._in_worker(lambda: [self._named(handles, name).numpy() for name in names])

    def on_device(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
        """Copies of these arrays as tensors on the device."""
        return self._in_worker(lambda: {name: copied(array, self._device) for name, array in arrays.items()})

    def _load(self, threads: int | None) -> None:
        import tvm
        from tvm import relax

        configure_threads(threads)
        artifact, manifest = self._artifact, self._artifact.manifest
        self._device = device(manifest)
        file = linked(artifact.library, manifest.files[manifest.library].sha256)
        try:
            library = tvm.runtime.load_module(str(file))
            self._machine = relax.VirtualMachine(library, self._device)
            self._functions = {name: self._machine[name] for name in self._entries}
        except (RuntimeError, AttributeError, ValueError, OSError) as error:
            raise UsageError(f"{artifact.library} cannot be loaded: {_line(error)}", BUILD_AGAIN) from error
        weights = {name: self._weights(name) for name in components(manifest)}
        self._weights_of = {
            name: [tensor for component in entry.parameters for tensor in weights[component]]
            for name, entry in self._entries.items()
        }

    def _weights(self, component: str) -> list[Any]:
        on_cpu = self._artifact.manifest.target.device == "cpu"
        tensors = parameters.read(self._artifact.parameters(component), copy_on_write=on_cpu)
        in_order = (tensors[str(index)] for index in range(len(tensors)))
        as_tensor = borrowed if on_cpu else copied
        return [as_tensor(array, self._device) for array in in_order]

    def _call(self, entry: str, given: Mapping[str, Any]) -> dict[str, Any]:
        declared = self._entries[entry]
        inputs = []
        for spec in declared.inputs:
            value = self._named(given, spec.name)
            if isinstance(value, np.ndarray):
                found = f"{value.dtype.name}{list(value.shape)}"
                if found != f"{spec.dtype}{list(spec.shape)}":
                    raise self._contradiction(
                        f"{entry} takes {spec.name} as {spec.dtype}{list(spec.shape)}, not {found}"
                    )
                value = copied(value, self._device)
            inputs.append(value)
        try:
            results = self._functions[entry](*inputs, *self._weights_of[entry])
        except (RuntimeError, ValueError, TypeError, MemoryError) as error:
            raise Sam3PortError(f"{entry} failed: {_line(error)}", "give it more memory, or build it again") from error
        if len(results) != len(declared.outputs):
            raise self._contradiction(f"{entry} returns {len(results)} tensors, not {len(declared.outputs)}")
        return {spec.name: result for spec, result in zip(declared.outputs, results, strict=True)}

    def _named(self, tensors: Mapping[str, Any], name: str) -> Any:
        if name not in tensors:
            raise self._contradiction(f"nothing gives {name}")
        return tensors[name]

    def _contradiction(self, what: str) -> UsageError:
        """The files are as they were built, so it is the manifest that was edited."""
        return UsageError(f"{self._artifact.folder / MANIFEST} contradicts the model: {what}", BUILD_AGAIN)

    def _in_worker(self, work: Callable[[], _Result]) -> _Result:
        if os.getpid() != self._process:
            raise UsageError(
                "the model was loaded in another process, whose threads this one does not have",
                "load it after the fork, or start processes with multiprocessing's method 'spawn'",
            )
        return self._worker.submit(work).result()


def _line(error: BaseException) -> str:
    """The last line that says something, of reasonable length: TVM puts where it happened above it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shorten(lines[-1], _LONGEST_LINE, placeholder=" ...") if lines else type(error).__name__
