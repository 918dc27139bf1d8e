"""Opening an artifact: nothing of it is run before all of it is known to be whole and made for this machine."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sam3port.artifact import manifest as manifests
from sam3port.artifact.hashes import Hashes
from sam3port.artifact.manifest import BUILD_AGAIN, Manifest
from sam3port.errors import UsageError
from sam3port.runtime.tvm_import import import_tvm

TVM = "apache-tvm"


@dataclass(frozen=True, slots=True)
class Artifact:
    """A folder that has been checked."""

    folder: Path
    manifest: Manifest

    @property
    def library(self) -> Path:
        return self.folder / self.manifest.library

    @property
    def tokenizer(self) -> Path:
        return self.folder / manifests.TOKENIZER

    def parameters(self, component: str) -> Path:
        """The file of a component's packed weights."""
        return self.folder / manifests.parameters_file(component)


def open_artifact(folder: Path, check: bool = False) -> Artifact:
    """Checks manifest, machine, device and files, in this order: what takes longest comes last.

    Args:
        folder: what ``sam3port build`` made.
        check: reads every file again, also when its size and time of change are those of an earlier check.

    Raises:
        UsageError: something is missing, damaged or made for another machine; it says what, and what to do.
    """
    manifest = manifests.read(folder)
    _check_machine(folder, manifest)
    _check_tvm(folder, manifest)
    _check_files(folder, manifest, check)
    return Artifact(folder, manifest)


def device(manifest: Manifest) -> Any:
    """TVM's device that the artifact runs on.

    Raises:
        UsageError: this machine has none.
    """
    import tvm

    name = manifest.target.device
    try:
        found = tvm.device(name, 0)
        there = bool(found.exist)
    except (ValueError, RuntimeError, TypeError):  # no name of a device, or this TVM was built without it
        there = False
    if not there:
        raise UsageError(
            f"the artifact runs on the device {name}, and this machine has none that TVM can use",
            "run it where there is one, or build for another: sam3port build --target cpu",
        )
    return found


def _check_machine(folder: Path, manifest: Manifest) -> None:
    from sam3port.machine.features import missing_features

    target = manifest.target
    ours, theirs = (platform.system(), platform.machine()), (target.system, target.machine)
    if ours != theirs:
        raise UsageError(
            f"{folder} was built for {' '.join(theirs)}, this machine is {' '.join(ours)}",
            "build it here, or for this machine: sam3port build --triple",
        )
    if missing := missing_features(target.cpu_features):
        raise UsageError(
            f"{folder} needs a CPU with {', '.join(missing)}, which this one lacks",
            "build it here, or for an older CPU: sam3port build --mcpu",
        )


def _check_tvm(folder: Path, manifest: Manifest) -> None:
    wanted = manifest.versions.get(TVM)
    if wanted is None:
        raise UsageError(f"{folder / manifests.MANIFEST} is damaged: no version of {TVM}", BUILD_AGAIN)
    remedy = f'pip install -r "{folder / "requirements.txt"}"'
    try:
        tvm = import_tvm()
    except (ImportError, OSError) as error:
        raise UsageError(f"TVM cannot be imported: {str(error).partition(chr(10))[0]}", remedy) from None
    if wanted.split(".")[:2] != tvm.__version__.split(".")[:2]:
        raise UsageError(f"{folder} was built with TVM {wanted}, this machine has {tvm.__version__}", remedy)
    device(manifest)


def _check_files(folder: Path, manifest: Manifest, afresh: bool) -> None:
    hashes = Hashes(folder, afresh)
    for name, listed in manifest.files.items():
        file = folder / name
        try:
            if not file.is_file():
                raise UsageError(f"{file} is missing", f"copy the whole folder, or {BUILD_AGAIN}")
            size = file.stat().st_size
            if size != listed.bytes:
                problem = "is cut off" if size < listed.bytes else "is too long"
                raise UsageError(
                    f"{file} {problem}: {size} bytes, it was built with {listed.bytes}", f"copy it, or {BUILD_AGAIN}"
                )
            if hashes.of(name) != listed.sha256:
                raise UsageError(f"{file} is damaged: its sha256 is not the manifest's", f"copy it, or {BUILD_AGAIN}")
        except OSError as error:
            raise UsageError(f"{file} cannot be read: {error.strerror}") from None
    hashes.remember()
