"""Keys of what stages leave: two builds have the same key exactly when nothing that matters differs."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import inspect
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import sam3port
from sam3port.port.request import BuildRequest
from sam3port.port.stage import Stage
from sam3port.runtime.hashes import sha256

if TYPE_CHECKING:
    from sam3port.patching.plan import Plan

_PACKAGE: Final = Path(sam3port.__file__).parent

_SOURCES: Final = {
    Stage.EXPORT: ("components/component.py", "components/data", "model", "replacements", "stubs", "port/export.py"),
    Stage.IMPORT: (
        *("port/relax.py", "port/decompose.py", "port/converter.py", "port/converters", "port/float32_regions.py"),
    ),
    Stage.OPTIMISE: (
        "port/optimise.py",
        "kernels",
        "targets",
        "machine",
        "tuning/record.py",
        "tuning/sources.py",
        "tuning/rates.py",
    ),
    Stage.PACK: ("port/pack.py", "port/parameters.py"),
    Stage.KERNELS: ("port/compile.py", "port/outline.py", "port/objects.py"),
    Stage.COMPILE: ("port/compiled_for.py", "machine"),
}
"""Our own source that a stage's result depends on, besides that of the plugins that are used."""

_LINK_SOURCES: Final = (*("port/entries.py", "port/link.py", "port/library.py", "port/compiled_for.py", "machine"),)

_VERSIONS: Final = {
    Stage.EXPORT: ("torch", "torchvision", "numpy"),
    Stage.IMPORT: ("torch", "apache-tvm", "apache-tvm-ffi"),
    Stage.OPTIMISE: ("apache-tvm", "apache-tvm-ffi"),
    Stage.PACK: ("apache-tvm", "apache-tvm-ffi"),
    Stage.KERNELS: ("apache-tvm", "apache-tvm-ffi"),
    Stage.COMPILE: ("apache-tvm", "apache-tvm-ffi"),
}


def stage_keys(request: BuildRequest, plan: Plan) -> dict[str, dict[Stage, str]]:
    """For each component of ``request``, the key of what each stage leaves. Imports neither torch nor tvm."""
    model = _digest(
        upstream_identity(plan),
        *(repr((patch.name, patch.edits)) for patch in plan.patches),
        *(_file(Path(sys.modules[name].__file__ or "")) for name in _patch_modules(plan)),
        repr(request.sizes()),
        weights_identity(request),
        repr(request.capacity),
    )
    return {name: _component_keys(request, name, model) for name in request.components}


def _component_keys(request: BuildRequest, name: str, model: str) -> dict[Stage, str]:
    target = request.build_target()
    component = request.component(name)
    special = {
        Stage.EXPORT: (model, name, *_classes(type(component))),
        Stage.IMPORT: _converters(request),
        Stage.OPTIMISE: (target.identity(), *_classes(type(target))),
        Stage.PACK: (),
        Stage.KERNELS: (),
        Stage.COMPILE: (),
    }
    keys: dict[Stage, str] = {}
    previous = ""
    for stage in request.until.through():
        versions = [f"{package} {importlib.metadata.version(package)}" for package in _VERSIONS[stage]]
        previous = _digest(previous, stage, *versions, *map(_source, _SOURCES[stage]), *special[stage])
        keys[stage] = previous
    return keys


def link_key(request: BuildRequest, keys: Mapping[str, Mapping[Stage, str]]) -> str:
    """The key of the library that the kernels of all components of ``request`` are linked to."""
    versions = [f"{package} {importlib.metadata.version(package)}" for package in _VERSIONS[Stage.COMPILE]]
    kernels = [f"{name} {keys[name][Stage.KERNELS]}" for name in request.components]
    return _digest("link", *versions, *map(_source, _LINK_SOURCES), *kernels)


def kernels_identity() -> str:
    """A digest of the kernels' source: what was measured with others has to be measured again."""
    return _source("kernels")


def upstream_identity(plan: Plan) -> str:
    """The commit; of a checkout that need not be the pinned commit, also every source file."""
    upstream = plan.upstream
    if upstream.pinned:
        return upstream.commit
    return _digest(upstream.commit, *(_file(file) for file in sorted((upstream.root / "sam3").rglob("*.py"))))


def weights_identity(request: BuildRequest) -> str:
    """Which weights: the seed (the same bytes everywhere), or the checkpoint's content."""
    if request.checkpoint is None:
        return f"seed {request.seed}"
    return f"checkpoint {_file(request.checkpoint)}"


def _patch_modules(plan: Plan) -> list[str]:
    """The modules of the plugins that deliver the patches: a patch's `prepare` is code, not a declaration."""
    from sam3port.plugins import load_plugins

    names = {patch.name for patch in plan.patches}
    manager = load_plugins().manager
    origins = {plugin for patch, plugin in load_plugins().origins().items() if patch in names}
    modules = (getattr(manager.get_plugin(origin), "__name__", "") for origin in origins)
    return sorted(module for module in modules if module in sys.modules)


def _converters(request: BuildRequest) -> tuple[str, ...]:
    from sam3port.plugins import load_plugins, switched_off

    converters = load_plugins(switched_off(request.disable)).converters()
    return tuple(
        _digest(name, str(converter.keep_whole), _file(Path(inspect.getfile(converter.convert))))
        for name, converter in sorted(converters.items())
    )


def _classes(cls: type) -> Iterable[str]:
    """The source files of a plugin's class and of what it inherits from."""
    files = {inspect.getfile(base) for base in cls.__mro__ if base.__module__ not in {"builtins", "abc"}}
    return [_file(Path(file)) for file in sorted(files)]


@functools.cache
def _source(relative: str) -> str:
    path = _PACKAGE / relative
    files = [path] if path.is_file() else sorted(path.rglob("*.py"))
    return _digest(*(f"{file.relative_to(_PACKAGE).as_posix()} {_file(file)}" for file in files))


@functools.cache
def _file(path: Path) -> str:
    return sha256(path)


def _digest(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode())
        digest.update(b"\0")
    return digest.hexdigest()[:32]
