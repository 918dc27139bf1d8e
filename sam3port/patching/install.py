"""``sam3port.install()``: makes ``import sam3`` give the pinned upstream, patched, in this process."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sam3port.errors import UsageError
from sam3port.patching.importer import UpstreamFinder, too_early, upstream_is_loaded
from sam3port.patching.plan import PACKAGE, Plan
from sam3port.plugins import load_plugins, switched_off
from sam3port.upstream.source import Upstream, locate

CHILDREN: Final = Path(__file__).with_name("children")
"""A folder whose package ``sam3`` installs the hook and steps aside. On ``sys.path`` it reaches the children of
multiprocessing's spawn, which inherit the path and nothing else. On PYTHONPATH (``sam3port run``) it reaches all."""

_lock = threading.RLock()
_current: Installation | None = None


class Installation:
    """A handle on the installed hook. A context manager: leaving it uninstalls.

    Installing twice with the same request gives the same handle; it is uninstalled when it was left as many times.
    Modules that were imported meanwhile stay, patched, and what they import later is patched too.
    """

    def __init__(self, finder: UpstreamFinder, request: tuple[str | None, frozenset[str]]) -> None:
        self.finder = finder
        self.request = request
        self.users = 0
        self._entered = 0
        self._environment: dict[str, str | None] = {}

    @property
    def plan(self) -> Plan:
        """Which patches go to which upstream; gathered when it is first asked for."""
        return self.finder.plan

    @property
    def patches(self) -> tuple[str, ...]:
        """The names of the patches that are enabled and needed on this machine."""
        return tuple(patch.name for patch in self.plan.patches)

    @property
    def executed(self) -> dict[str, tuple[str, ...]]:
        """The upstream modules imported so far, with the patches that each went through."""
        return dict(self.finder.executed)

    @property
    def prepared(self) -> dict[str, str | None]:
        """The patches that had something to do before upstream's first import: None, or why there was nothing."""
        return dict(self.finder.prepared)

    @property
    def active(self) -> bool:
        return self.finder in sys.meta_path and not self.finder.retired

    def uninstall(self) -> None:
        """Takes the hook away, whoever else installed it."""
        global _current
        with _lock:
            self.users = self._entered = 0
            self.finder.retired = True
            if not upstream_is_loaded():
                sys.meta_path = [finder for finder in sys.meta_path if finder is not self.finder]
            if _current is self:
                _current = None
                self._leave_children()

    def __enter__(self) -> Self:
        with _lock:
            if not self.active:
                raise UsageError("this handle is not installed any more", "call sam3port.install() again")
            self._entered += 1
            self.users = max(self.users, self._entered)
            return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _lock:
            self._entered -= 1
            self.users -= 1
            if self.users <= 0:
                self.uninstall()

    def _reach_children(self) -> None:
        """Processes that multiprocessing spawns inherit sys.path and the environment."""
        if str(CHILDREN) not in sys.path:
            sys.path.insert(0, str(CHILDREN))  # ahead of a sam3 that is installed or lies beside the script
        upstream, disable = self.request
        wanted = {"SAM3PORT_UPSTREAM": upstream, "SAM3PORT_DISABLE": ",".join(sorted(disable)) or None}
        for name, value in wanted.items():
            if value is not None and os.environ.get(name) != value:
                self._environment[name] = os.environ.get(name)
                os.environ[name] = value

    def _leave_children(self) -> None:
        if str(CHILDREN) in sys.path:
            sys.path.remove(str(CHILDREN))
        for name, value in self._environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._environment.clear()


def install(upstream: str | os.PathLike[str] | None = None, *, disable: Iterable[str] = ()) -> Installation:
    """Installs the import hook for ``sam3``. Imports neither torch nor tvm nor upstream.

    Args:
        upstream: a checkout to use instead of the pinned one (as SAM3PORT_UPSTREAM).
        disable: patches or plugins to switch off, besides those of SAM3PORT_DISABLE and [tool.sam3port].

    Returns:
        The handle. Idempotent and thread-safe.

    Raises:
        UpstreamError: the upstream source is not there (``sam3port upstream fetch``) or not what the pin says.
        UsageError: a name to switch off is unknown, or the hook is installed with another request.
        PatchDrift: ``sam3`` was imported before, unpatched.
    """
    global _current
    with _lock:
        off = switched_off(disable)
        explicit = upstream if upstream is not None else os.environ.get("SAM3PORT_UPSTREAM") or None
        request = (str(Path(explicit).expanduser().absolute()) if explicit is not None else None, off)
        if _current is not None and _current.active:
            if _current.request != request:
                raise UsageError(
                    "sam3port.install() was called before, with another upstream or other patches switched off",
                    "uninstall the first (handle.uninstall()) or ask for the same",
                )
            _current.users += 1
            return _current
        located = locate(Path(explicit) if explicit is not None else None)
        finder = UpstreamFinder(lambda: make_plan(explicit, off, located))
        if off or any(name == PACKAGE or name.startswith(f"{PACKAGE}.") for name in list(sys.modules)):
            # Only then is there something to object to; otherwise the first `import sam3` gathers the patches.
            _refuse_if_too_early(finder.plan)
        installation = Installation(finder, request)
        _put_first(finder)
        installation._reach_children()
        installation.users = 1
        _current = installation
        return installation


def _put_first(finder: UpstreamFinder) -> None:
    """Ahead of every other finder, in place of those of ours that were uninstalled.

    Here and in `Installation.uninstall` the list is replaced, not changed: another thread may be going through it,
    and would pass a finder over.
    """
    others = [other for other in sys.meta_path if not (isinstance(other, UpstreamFinder) and other.retired)]
    sys.meta_path = [finder, *others]


def current() -> Installation | None:
    """The handle of the installed hook, None when there is none."""
    return _current


def make_plan(upstream: str | os.PathLike[str] | None, off: frozenset[str], located: Upstream | None = None) -> Plan:
    """Which patches apply to which upstream; looks at this machine, imports nothing heavy.

    Args:
        upstream: a checkout of the user's, None for the pinned one.
        off: names that are switched off, as `sam3port.plugins.switched_off` gives them.
        located: where it was found, if that is known already.
    """
    plugins = load_plugins(off)
    disabled = plugins.select(off)
    patches, not_needed = [], {}
    for patch in plugins.patches().values():
        if patch.name in disabled:
            continue
        reason = patch.not_needed() if patch.not_needed is not None else None
        if reason is None:
            patches.append(patch)
        else:
            not_needed[patch.name] = reason
    located = located or locate(Path(upstream) if upstream is not None else None)
    return Plan(located, tuple(patches), not_needed, disabled)


def _refuse_if_too_early(plan: Plan) -> None:
    foreign = [
        name
        for name, module in list(sys.modules.items())
        # None blocks an import on purpose.
        if (name == PACKAGE or name.startswith(f"{PACKAGE}.")) and module and not _went_through(name, module, plan)
    ]
    if foreign:
        raise too_early(plan, foreign)


def _went_through(name: str, module: object, plan: Plan) -> bool:
    """Whether an imported module got exactly the edits that ``plan`` has for it."""
    earlier = getattr(getattr(module, "__loader__", None), "plan", None)
    if earlier is not None:
        return bool(earlier.upstream.root == plan.upstream.root and earlier.edits(name) == plan.edits(name))
    # A namespace package has no code that could be unpatched, if it is upstream's.
    folder = plan.upstream.root.joinpath(*name.split("."))
    return plan.file(name) is None and list(getattr(module, "__path__", ())) == [str(folder)]
