"""Which of our own source a result depends on: the modules that make it, and all that these import."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import sam3port

if TYPE_CHECKING:
    from grimp import ImportGraph

PACKAGE: Final = "sam3port"
_FOLDER: Final = Path(sam3port.__file__).parent


def closure(*roots: str) -> frozenset[str]:
    """The modules ``roots``, and what they import directly or indirectly, inside functions too.

    What is imported for type checkers only does not count. What is loaded by name (plugins) cannot be seen: it has to
    be among the roots.

    Args:
        roots: full names of modules of this package; a package stands for all modules in it. Names of other packages
            are left out.
    """
    graph = _graph()
    found: set[str] = set()
    for root in roots:
        if root in graph.modules:
            inside = {root, *graph.find_descendants(root)}
            found |= inside
            for module in inside:
                found |= graph.find_upstream_modules(module)
    return frozenset(found | {package for module in found for package in _packages(module)})


def _packages(module: str) -> list[str]:
    """Those around a module, which are imported before it; not the outermost."""
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(2, len(parts))]


def files_of(modules: Iterable[str]) -> dict[str, Path]:
    """The source file of each module of this package, by its path within the package, sorted."""
    files = {}
    for module in modules:
        base = _FOLDER.joinpath(*module.split(".")[1:])
        file = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
        files[file.relative_to(_FOLDER).as_posix()] = file
    return dict(sorted(files.items()))


@functools.cache
def _graph() -> ImportGraph:
    import grimp

    graph = grimp.build_graph(PACKAGE, exclude_type_checking_imports=True, cache_dir=None)
    # The package's own `__init__` offers the runtime to users: who asks it where the package lies needs none of that.
    for offered in graph.find_modules_directly_imported_by(PACKAGE):
        graph.remove_import(importer=PACKAGE, imported=offered)
    return graph
