"""Modules compiled once for all runs of the suite: machine code for the same code, target and compiler is kept.

It lies in the user's cache, in a file named by the hash of all that decides about it, so that whoever changes a kernel
compiles that kernel, and whoever does not waits for none. SAM3PORT_TEST_KERNELS=fresh compiles everything.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Final

import tvm
from tvm.target import Target, codegen

from sam3port.cache.places import cache_root
from sam3port.cache.store import Store

VARIABLE: Final = "SAM3PORT_TEST_KERNELS"
_ROOT: Final = cache_root() / "test-kernels"
_LIMIT: Final = 2**30
"""Bytes; a run of the suite leaves about a tenth of it."""
_LIBRARY: Final = "kernels.so"


def compiled(module: tvm.IRModule, target: Target | str) -> tvm.runtime.Module:
    """What ``tvm.compile`` makes of a module of TIR or Relax, loaded from a file."""
    return tvm.runtime.load_module(str(library(module, target)))


def library(module: tvm.IRModule, target: Target | str) -> Path:
    """The file of `compiled`, not to be written to."""
    target = Target(target) if isinstance(target, str) else target
    kept, key = _store(), identity(module, target)
    fresh = os.environ.get(VARIABLE) == "fresh"
    folder = None if fresh else kept.find(key)
    if folder is None:
        folder = kept.begin()
        tvm.compile(module, target=target).export_library(str(folder / _LIBRARY))
        folder = folder if fresh else kept.commit(folder, key)
    return folder / _LIBRARY


def identity(module: tvm.IRModule, target: Target) -> str:
    """A hash of all functions with their attributes, constants and imported LLVM, of the target and the compiler."""
    context = tvm.transform.PassContext.current()
    settings = context.opt_level, sorted(map(str, context.config.items())), list(map(str, context.disabled_pass))
    versions = version("apache-tvm"), version("apache-tvm-ffi"), codegen.llvm_version_major()
    said = hashlib.sha256(repr((str(target), settings, versions, platform.system(), platform.machine())).encode())
    # Each function by itself: their order in a module is nobody's choice.
    for name, function in sorted((each.name_hint, function) for each, function in module.functions_items()):
        said.update(f"\0{name}\0{tvm.ir.save_json(function)}".encode())
    said.update(f"\0{tvm.ir.save_json(module.attrs) if module.attrs else ''}".encode())
    return said.hexdigest()


@functools.cache
def _store() -> Store:
    store = Store(_ROOT)
    store.clean(_LIMIT)
    return store
