"""Objects: machine code of kernels, an object file each, which every build finds again by what the kernel is."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sam3port.cache.store import Store
from sam3port.errors import Sam3PortError

if TYPE_CHECKING:
    from sam3port.targets.target import BuildTarget

_OBJECT: Final = "kernel.o"
_DIGEST: Final = "sha256"
_FORM: Final = "1"
"""Changes when the same kernel is compiled in another way than before."""

Report = Callable[[int, int], None]
"""Is told how many kernels are done, and of how many."""


def compiles_apart(target: BuildTarget) -> bool:
    """Whether kernels for ``target`` can be object files of their own: those of CPUs; a GPU's are one program."""
    return str(target.target().kind.name) == "llvm"


class Objects:
    """The object files of one target."""

    def __init__(self, target: BuildTarget, store: Store) -> None:
        """
        Args:
            target: `compiles_apart`.
            store: keeps them.
        """
        self._target, self._store = target.target(), store
        versions = [importlib.metadata.version(package) for package in ("apache-tvm", "apache-tvm-ffi")]
        self._made_by = "\0".join([_FORM, *versions, str(self._target)])

    def compile(self, kernels: Mapping[str, Any], report: Report, *, backwards: bool = False) -> dict[str, bytes]:
        """The object file of each of ``kernels``, compiled unless that was done before.

        Args:
            kernels: functions by their names, which say what they are: `sam3port.kernels.common.naming.name_of`.
            report: is told how far it is.
            backwards: the last one first, so that two processes can share the work.

        Returns:
            By name, in the order of names.
        """
        made = {}
        for name in sorted(kernels, reverse=backwards):
            made[name] = self._find(name) or self._make(name, kernels[name])
            report(len(made), len(kernels))
        return dict(sorted(made.items()))

    def _find(self, name: str) -> bytes | None:
        """What was made before. What is damaged goes."""
        folder = self._store.find(key := self._key(name))
        if folder is None:
            return None
        with contextlib.suppress(OSError):
            code = (folder / _OBJECT).read_bytes()
            if (folder / _DIGEST).read_text(encoding="ascii") == hashlib.sha256(code).hexdigest():
                return code
        self._store.discard(key)
        return None

    def _make(self, name: str, kernel: Any) -> bytes:
        import tvm

        module = tvm.IRModule({name: kernel.with_attr("global_symbol", name)})
        # The virtual machine looks at the tensors of a whole function once: kernels get what it has allocated.
        with tvm.transform.PassContext(config={"tirx.disable_assert": True}):
            compiled = tvm.tirx.build(module, target=self._target)
        folder = self._store.begin()
        compiled.write_to_file(str(folder / _OBJECT))
        code = (folder / _OBJECT).read_bytes()
        (folder / _DIGEST).write_text(hashlib.sha256(code).hexdigest(), encoding="ascii")
        self._store.commit(folder, self._key(name))
        return code

    def _key(self, name: str) -> str:
        return "kernel-" + hashlib.sha256(f"{self._made_by}\0{name}".encode()).hexdigest()[:32]


def write(file: Path, objects: Mapping[str, bytes]) -> None:
    """Object files in one, the same bytes for the same objects."""
    with tarfile.open(file, "w") as archive:
        for name in sorted(objects):
            entry = tarfile.TarInfo(name)
            entry.size = len(objects[name])
            archive.addfile(entry, io.BytesIO(objects[name]))


def read(file: Path) -> dict[str, bytes]:
    """What `write` wrote.

    Raises:
        Sam3PortError: the file is absent or damaged.
    """
    try:
        with tarfile.open(file, "r:") as archive:
            return {entry.name: _content(archive, entry) for entry in archive}
    except (OSError, tarfile.TarError) as error:
        raise Sam3PortError(f"{file} cannot be read: {error}", "build it again with --no-cache") from error


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(entry)
    content = stream.read() if stream is not None else b""
    if len(content) != entry.size:
        raise tarfile.ReadError(f"{entry.name} is cut off")
    return content


def attach(executable: Any, objects: Mapping[str, bytes], folder: Path) -> None:
    """Makes ``executable`` be written with these object files.

    Args:
        executable: what ``tvm.compile`` returned.
        objects: by the name of their function.
        folder: for the files; not read any more when this returns.
    """
    import tvm

    for number, (name, code) in enumerate(sorted(objects.items())):
        file = folder / f"{number}.o"
        file.write_bytes(code)
        executable.mod.import_module(tvm.runtime.load_static_library(str(file), [name]))
