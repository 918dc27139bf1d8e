"""The import hook: finds upstream's modules, hands their source through the patches, executes the result."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import io
import linecache
import sys
import threading
from collections.abc import Callable, Sequence
from types import CodeType, ModuleType

from sam3port.errors import PatchError
from sam3port.patching.drift import INSTALL_FIRST, Drift, PatchDrift, Verdict
from sam3port.patching.plan import PACKAGE, Plan


class PatchedLoader(importlib.machinery.SourceFileLoader):
    """Executes one upstream module, patched.

    It neither reads nor writes bytecode: a stale .pyc would make a patch silently not apply, a written one would
    outlive its being switched off. (Compiling all that ``import sam3`` loads takes about 0.1 s of its 3 s.)
    """

    def __init__(
        self, name: str, path: str, plan: Plan, prepare: Callable[[], None], done: Callable[[str], None]
    ) -> None:
        super().__init__(name, path)
        self.plan = plan
        self._prepare = prepare
        self._done = done

    def get_source(self, fullname: str) -> str:
        source = self.plan.pristine(fullname)
        if source is None:
            raise ImportError(f"{self.path} has vanished", name=fullname, path=self.path)
        return self.plan.patched(fullname, source)

    def get_code(self, fullname: str) -> CodeType:
        return self._compile(fullname, self.get_source(fullname))

    def exec_module(self, module: ModuleType) -> None:
        self._prepare()
        name = module.__name__
        source = self.get_source(name)
        patches = dict.fromkeys(patch.name for patch, _ in self.plan.edits(name))
        if patches:
            self._show_patched_text(source, self._file_name(name))
        exec(self._compile(name, source), module.__dict__)
        self._done(name)

    def _compile(self, fullname: str, source: str) -> CodeType:
        code: CodeType = compile(source, self._file_name(fullname), "exec", dont_inherit=True)
        return code

    def _file_name(self, fullname: str) -> str:
        """What tracebacks show: the file, and which patches its text went through."""
        patches = dict.fromkeys(patch.name for patch, _ in self.plan.edits(fullname))
        return f"{self.path} <sam3port: {', '.join(patches)}>" if patches else self.path

    def _show_patched_text(self, source: str, file_name: str) -> None:
        """Lets inspect, tracebacks, debuggers and torch.jit.script see what runs.

        Functions are looked up by their code's file name, classes by the module's ``__file__``, which has to stay
        the real path because upstream finds its assets by it. No modification time: linecache then never replaces
        the entry by the file on disk.
        """
        lines = list(io.StringIO(source))  # splitlines() would also break at form feeds
        for name in (file_name, self.path):
            linecache.cache[name] = (len(source), None, lines, name)


class UpstreamFinder:
    """A meta path finder that answers for ``sam3`` and ``sam3.*`` exactly; ``sam3port`` is none of its business."""

    def __init__(self, make_plan: Callable[[], Plan]) -> None:
        self._make_plan = make_plan
        self._plan: Plan | None = None
        self.executed: dict[str, tuple[str, ...]] = {}
        """The modules executed so far, with the patches that each went through."""
        self.prepared: dict[str, str | None] = {}
        """The patches whose ``prepare`` ran, with the reason when it had nothing to do."""
        self.retired = False
        """Uninstalled, but upstream was imported: what it still imports inside of its functions is patched as well."""
        self._lock = threading.RLock()
        self._prepare_started = False

    @property
    def plan(self) -> Plan:
        """Made when it is first asked for: gathering the plugins takes longer than installing the hook may."""
        with self._lock:
            if self._plan is None:
                self._plan = self._make_plan()
            return self._plan

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != PACKAGE and not fullname.startswith(f"{PACKAGE}."):
            return None
        if self.retired and (fullname == PACKAGE or not upstream_is_loaded()):
            return None
        file = self.plan.file(fullname)
        if file is None:
            # A folder without __init__.py, or nothing: in upstream's tree only, and nowhere else on sys.path.
            folder = self.plan.upstream.root.joinpath(*fullname.split(".")).parent
            return importlib.machinery.PathFinder.find_spec(fullname, [str(folder)])
        loader = PatchedLoader(fullname, str(file), self.plan, self.prepare, self._executed)
        locations = [str(file.parent)] if file.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(
            fullname, str(file), loader=loader, submodule_search_locations=locations
        )

    def prepare(self) -> None:
        """Proves every edit and runs every patch's ``prepare``, once, before upstream's first module executes."""
        with self._lock:
            if self._prepare_started:
                return
            self._prepare_started = True
            try:
                self.plan.require()
                for patch in self.plan.patches:
                    if patch.prepare is not None and patch.name not in self.prepared:
                        self.prepared[patch.name] = patch.prepare()
            except BaseException:
                self._prepare_started = False
                raise

    def _executed(self, module: str) -> None:
        self.executed[module] = tuple(dict.fromkeys(patch.name for patch, _ in self.plan.edits(module)))


def upstream_is_loaded() -> bool:
    """Whether the ``sam3`` of this process came through a hook of ours."""
    return isinstance(getattr(sys.modules.get(PACKAGE), "__loader__", None), PatchedLoader)


def too_early(plan: Plan, modules: Sequence[str]) -> PatchError:
    """The error for upstream modules that were imported, unpatched, before the hook was there."""
    for module in modules:
        for patch, edit in plan.edits(module):
            detail = f"{module} is in sys.modules already, unpatched"
            return PatchDrift(Drift(patch.name, edit, Verdict.IMPORTED_TOO_EARLY, detail))
    return PatchError(
        f"{Verdict.IMPORTED_TOO_EARLY}: {', '.join(sorted(modules)[:3])} was imported before sam3port.install()",
        INSTALL_FIRST,
    )
