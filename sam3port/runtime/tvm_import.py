"""TVM without torch: what runs an artifact has no use for it, and importing it takes longer than all the rest."""

from __future__ import annotations

import contextlib
import importlib.abc
import sys
import threading
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

_TORCH = "torch"


def import_tvm() -> ModuleType:
    """Imports ``tvm``, and torch with it only where it would be no work: TVM imports torch wherever it is installed.

    It does that to take torch's tensors and dtypes as arguments. Whoever imports torch before gets that as ever.
    Whoever does it later has a torch that lacks nothing, and a TVM that knows torch's tensors by DLPack, but neither
    torch's dtypes nor its streams.

    Returns:
        The module ``tvm``.

    Raises:
        ImportError, OSError: it is not installed, or broken.
    """
    # On Windows, libraries of TVM and of torch clash unless torch comes first (tvm_ffi/__init__.py), should it come.
    alone = sys.platform != "win32" and not {"tvm_ffi", _TORCH} & sys.modules.keys()
    with _without_torch() if alone else contextlib.nullcontext():
        import tvm
    return tvm  # type: ignore[no-any-return]


class _Refusing(importlib.abc.MetaPathFinder):
    """For one thread there is no torch: what others import meanwhile is their business."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name == _TORCH and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


@contextlib.contextmanager
def _without_torch() -> Iterator[None]:
    refusing = _Refusing()
    sys.meta_path.insert(0, refusing)
    try:
        yield
    finally:
        sys.meta_path.remove(refusing)
