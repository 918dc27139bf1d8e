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

from sam3port.artifact.hashes import sha256
from sam3port.build.closure import PACKAGE, closure, files_of
from sam3port.build.request import BuildRequest
from sam3port.compiler.stage import Stage
from sam3port.plugins import load_plugins, switched_off

if TYPE_CHECKING:
    from sam3port.compiler.importing.converter import Converter
    from sam3port.patching.plan import Plan

_MADE_BY: Final = {
    # Patches call what is in `replacements`, and upstream imports what is in `stubs`.
    Stage.EXPORT: ("compiler.export", "compiler.declared", "model.build", "patching.install", "replacements", "stubs"),
    Stage.IMPORT: ("compiler.importing.program",),
    Stage.OPTIMISE: ("compiler.optimise",),
    Stage.PACK: ("compiler.pack",),
    Stage.KERNELS: ("compiler.compile",),
    Stage.COMPILE: ("compiler.compile",),
}
"""The modules that do a stage's work. With all that they import, and with the plugins that are used, they are the
source that its result depends on."""

_LINKED_BY: Final = ("build.library",)

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
    converters = load_plugins(switched_off(request.disable)).converters()
    special = {
        Stage.EXPORT: (model, name, *_classes(type(component))),
        Stage.IMPORT: _converters(converters),
        Stage.OPTIMISE: (target.identity(), *_classes(type(target))),
        Stage.PACK: (),
        Stage.KERNELS: (),
        Stage.COMPILE: (),
    }
    plugins = {
        Stage.EXPORT: tuple(base.__module__ for base in type(component).__mro__),
        Stage.IMPORT: tuple(sorted({each.convert.__module__ for each in converters.values()})),
        Stage.OPTIMISE: tuple(base.__module__ for base in type(target).__mro__),
    }
    keys: dict[Stage, str] = {}
    previous = ""
    for stage in request.until.through():
        versions = [f"{package} {importlib.metadata.version(package)}" for package in _VERSIONS[stage]]
        source = _source((*_of_ours(_MADE_BY[stage]), *plugins.get(stage, ())))
        previous = _digest(previous, stage, *versions, source, *special[stage])
        keys[stage] = previous
    return keys


def link_key(request: BuildRequest, keys: Mapping[str, Mapping[Stage, str]]) -> str:
    """The key of the library that the kernels of all components of ``request`` are linked to."""
    versions = [f"{package} {importlib.metadata.version(package)}" for package in _VERSIONS[Stage.COMPILE]]
    kernels = [f"{name} {keys[name][Stage.KERNELS]}" for name in request.components]
    return _digest("link", *versions, _source(_of_ours(_LINKED_BY)), *kernels)


def kernels_identity() -> str:
    """A digest of the kernels' source: what was measured with others has to be measured again."""
    return _source(_of_ours(("kernels",)))


def upstream_identity(plan: Plan) -> str:
    """The commit; of a checkout that need not be the pinned commit, also every source file."""
    upstream = plan.upstream
    if upstream.pinned:
        return upstream.commit
    return _digest(upstream.commit, *(_file(file) for file in sorted((upstream.root / "sam3").rglob("*.py"))))


def weights_identity(request: BuildRequest) -> str:
    """Which weights: the seed (the same bytes everywhere), or the checkpoint's content, and its base's.

    Raises:
        CheckpointError: there is no such file.
    """
    if request.checkpoint is None:
        return f"seed {request.seed}"
    from sam3port.model.checkpoints.files import files_of

    digests = [_file(file) for file in files_of(request.checkpoint)]
    if request.base is not None:
        digests += ["base", *map(_file, files_of(request.base))]
    return f"checkpoint {digests[0] if len(digests) == 1 else hashlib.sha256(' '.join(digests).encode()).hexdigest()}"


def _patch_modules(plan: Plan) -> list[str]:
    """The modules of the plugins that deliver the patches: a patch's `prepare` is code, not a declaration."""
    names = {patch.name for patch in plan.patches}
    manager = load_plugins().manager
    origins = {plugin for patch, plugin in load_plugins().origins().items() if patch in names}
    modules = (getattr(manager.get_plugin(origin), "__name__", "") for origin in origins)
    return sorted(module for module in modules if module in sys.modules)


def _converters(converters: Mapping[str, Converter]) -> tuple[str, ...]:
    return tuple(
        _digest(name, str(converter.keep_whole), _file(Path(inspect.getfile(converter.convert))))
        for name, converter in sorted(converters.items())
    )


def _classes(cls: type) -> Iterable[str]:
    """The source files of a plugin's class and of what it inherits from."""
    files = {inspect.getfile(base) for base in cls.__mro__ if base.__module__ not in {"builtins", "abc"}}
    return [_file(Path(file)) for file in sorted(files)]


def _of_ours(modules: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{PACKAGE}.{module}" for module in modules)


@functools.cache
def _source(modules: tuple[str, ...]) -> str:
    """A digest of the source of those of these modules that are of this package, and of all that they import."""
    return _digest(*(f"{name} {_file(file)}" for name, file in files_of(closure(*modules)).items()))


@functools.cache
def _file(path: Path) -> str:
    return sha256(path)


def _digest(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode())
        digest.update(b"\0")
    return digest.hexdigest()[:32]
