"""What a result depends on is seen in the source; here, that nothing that a stage really loads is overlooked."""

from __future__ import annotations

import json
import subprocess
import sys

from sam3port.build import keys
from sam3port.build.closure import closure, files_of
from sam3port.build.request import BuildRequest
from sam3port.plugins import load_plugins
from sam3port.upstream.source import Upstream

_ORCHESTRATION = {
    "sam3port",
    "sam3port.autoload",
    "sam3port.components",
    "sam3port.components.builtin",
    "sam3port.build",
    "sam3port.cache",
    "sam3port.children.parent",
    "sam3port.build.worker",
    "sam3port.build.progress",
    "sam3port.build.request",
    "sam3port.compiler.stage",
    "sam3port.cache.store",
}
"""What gives the work and makes none of it."""
_PLUGINS = (
    "sam3port.patches",
    "sam3port.cli",
    "sam3port.components.",
    "sam3port.targets.",
    "sam3port.compiler.importing.converters",
)


def test_imports_inside_functions_count_and_those_for_type_checkers_do_not() -> None:
    found = closure("sam3port.compiler.export")
    assert "sam3port.components.component" in closure("sam3port.compiler.declared")
    assert "sam3port.compiler.export" in found
    assert "sam3port.kernels.cpu.pipeline" in closure("sam3port.targets.cpu")  # inside `optimise`
    assert "sam3port.patching.plan" not in closure("sam3port.compiler.importing.converter")


def test_a_package_stands_for_all_modules_in_it() -> None:
    assert {"sam3port.replacements.rope", "sam3port.replacements"} <= closure("sam3port.replacements")


def test_names_of_others_are_left_out() -> None:
    assert closure("numpy", "somebody.elses.component", "builtins") == frozenset()


def test_who_imports_the_package_itself_does_not_import_what_it_offers() -> None:
    assert "sam3port.runtime.model" not in closure("sam3port.tuning.sources")


def test_files_are_those_of_the_modules() -> None:
    files = files_of({"sam3port.replacements", "sam3port.replacements.rope"})
    assert list(files) == ["replacements/__init__.py", "replacements/rope.py"]
    assert all(file.is_file() for file in files.values())


def test_what_the_stages_of_a_component_load_is_in_their_keys(upstream_source: Upstream) -> None:
    """The real work, in a fresh interpreter: of our own modules it has loaded none that no key knows."""
    assert upstream_source.pinned
    code = """
import json, sys, tempfile
from pathlib import Path
from sam3port.build import worker
from sam3port.build.request import BuildRequest
from sam3port.compiler.stage import ORDER, Stage
request = BuildRequest(components=("scoring_head",))
folders = {stage: str(Path(tempfile.mkdtemp())) for stage in ORDER}
said = []
def emit(event, **content):
    said.append({"event": event, **content})
def loaded():
    return sorted(name for name in sys.modules if name.split(".")[0] == "sam3port")
worker.work({"kind": "export", "request": request.as_json(), "folders": {"scoring_head": folders[Stage.EXPORT]}}, emit)
exported = loaded()
rest = {stage: folder for stage, folder in folders.items() if stage is not Stage.EXPORT}
given = {"component": "scoring_head", "sources": {Stage.EXPORT: folders[Stage.EXPORT]}, "folders": rest}
worker.work({"kind": "lower", "request": request.as_json(), "store": tempfile.mkdtemp(), **given}, emit)
failed = [event for event in said if event["event"] == "failed"]
print("FOUND" + json.dumps({"failed": failed, "export": exported, "all": loaded()}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.partition("FOUND")[2])
    assert not found["failed"]
    request = BuildRequest(components=("scoring_head",))
    plugins = load_plugins()
    of_plugins = {
        *(base.__module__ for base in type(request.component("scoring_head")).__mro__),
        *(base.__module__ for base in type(request.build_target()).__mro__),
        *(converter.convert.__module__ for converter in plugins.converters().values()),
    }
    makers = keys._of_ours(module for modules in keys._MADE_BY.values() for module in modules)
    known = closure(*makers, *of_plugins) | _ORCHESTRATION
    # Every plugin's module is loaded, with what it imports at once: those that are used are in `of_plugins`.
    idle = {name for name in found["all"] if name.startswith(_PLUGINS)} | closure("sam3port.components")
    assert sorted(set(found["all"]) - known - idle) == []
    assert "sam3port.patching.importer" in found["export"]
    assert set(found["export"]) & {"sam3port.compiler.importing.program", "sam3port.compiler.optimise"} == set()
