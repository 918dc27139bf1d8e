"""The plugin manager: built-ins, the files in ``patches/`` and third-party packages, all through the same hooks."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import pkgutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from sam3port import hookspecs
from sam3port.errors import Sam3PortError, UsageError

if TYPE_CHECKING:
    import click

    from sam3port.compiler.importing.converter import Converter
    from sam3port.components.component import Component
    from sam3port.patching.patch import Patch
    from sam3port.stubs.stub import Stub
    from sam3port.targets.target import BuildTarget

BUILT_IN = (
    "sam3port.cli.commands",
    "sam3port.components.builtin",
    "sam3port.compiler.importing.converters",
    "sam3port.targets",
)
"""Plugin modules of our own, besides every module of ``sam3port.patches``."""


class Plugins:
    """Everything that the registered plugins deliver, by name, each name once."""

    def __init__(self, manager: pluggy.PluginManager, blocked: frozenset[str]) -> None:
        self.manager = manager
        self.blocked = blocked
        """Names of plugins that are switched off as a whole."""

    @functools.cache  # noqa: B019 - one instance per process
    def patches(self) -> dict[str, Patch]:
        """The patches by name, built-ins first, in the order of their names."""
        return self._gather("sam3port_patches", "patch", lambda patch: patch.name)

    @functools.cache  # noqa: B019
    def stubs(self) -> dict[str, Stub]:
        return self._gather("sam3port_stubs", "stub", lambda stub: stub.module)

    @functools.cache  # noqa: B019
    def commands(self) -> dict[str, click.Command]:
        return self._gather("sam3port_commands", "command", lambda command: command.name or "")

    @functools.cache  # noqa: B019
    def components(self) -> dict[str, type[Component]]:
        """The components' classes by name."""
        return self._gather("sam3port_components", "component", lambda component: component.name)

    @functools.cache  # noqa: B019
    def converters(self) -> dict[str, Converter]:
        """The conversions to Relax by operator."""
        return self._gather("sam3port_converters", "converter", lambda converter: converter.operator)

    @functools.cache  # noqa: B019
    def targets(self) -> dict[str, type[BuildTarget]]:
        """The targets' classes by name."""
        return self._gather("sam3port_targets", "target", lambda target: target.name)

    @functools.cache  # noqa: B019
    def origins(self) -> dict[str, str]:
        """For every patch, the plugin that delivers it."""
        self.patches()  # complains if one is none
        return {item.name: plugin for plugin, items in self._calls("sam3port_patches") for item in items}

    def names(self) -> set[str]:
        """Everything that can be switched off."""
        plugins = {name for name, _ in self.manager.list_name_plugin()}
        return plugins - set(BUILT_IN) | set(self.patches()) | self.blocked

    def select(self, disable: Iterable[str]) -> frozenset[str]:
        """The names of the patches that ``disable`` (patch or plugin names) switches off.

        Raises:
            UsageError: a name is unknown.
        """
        asked = set(disable)
        unknown = asked - self.names()
        if unknown:
            raise UsageError(
                f"cannot switch off {', '.join(sorted(unknown))}: no patch or plugin has that name",
                f"the known names are {', '.join(sorted(self.names()))}",
            )
        return frozenset(name for name, origin in self.origins().items() if {name, origin} & asked)

    def _calls(self, hook: str) -> list[tuple[str, list[Any]]]:
        calls = []
        for implementation in getattr(self.manager.hook, hook).get_hookimpls():
            name = implementation.plugin_name
            try:
                calls.append((name, list(implementation.function())))
            except Exception as error:
                problem = getattr(error, "problem", error)
                raise Sam3PortError(
                    f"the plugin {name} failed in {hook}: {type(error).__name__}: {problem}", _off(name)
                ) from error
        return sorted(calls, key=lambda call: (not _is_ours(self.manager.get_plugin(call[0])), call[0]))

    def _gather(self, hook: str, what: str, key: Callable[[Any], str]) -> dict[str, Any]:
        gathered: dict[str, Any] = {}
        owner: dict[str, str] = {}
        for plugin, items in self._calls(hook):
            for item in items:
                try:
                    name = key(item)
                except AttributeError:
                    problem = f"the plugin {plugin} delivers something that is no {what} in {hook}: {item!r}"
                    raise Sam3PortError(problem, _off(plugin)) from None
                if name in gathered:
                    both = [p for p in (owner[name], plugin) if not _is_ours(self.manager.get_plugin(p))]
                    raise UsageError(
                        f"two plugins deliver a {what} named {name}: {owner[name]} and {plugin}",
                        f"switch one off with --disable {' or --disable '.join(both)}",
                    )
                gathered[name], owner[name] = item, plugin
        return gathered


def _is_ours(plugin: object) -> bool:
    return getattr(plugin, "__name__", "").startswith("sam3port.")


def _off(plugin: str) -> str:
    return f"switch it off with --disable {plugin} or SAM3PORT_DISABLE={plugin}, or uninstall it"


def switched_off(disable: Iterable[str] = ()) -> frozenset[str]:
    """The names that the caller, SAM3PORT_DISABLE and the nearest pyproject.toml's [tool.sam3port] switch off.

    Raises:
        UsageError: [tool.sam3port] disable is not a list of names.
    """
    names = set(disable)
    names.update(name.strip() for name in os.environ.get("SAM3PORT_DISABLE", "").split(",") if name.strip())
    with contextlib.suppress(FileNotFoundError):  # the working folder was removed
        names.update(_disabled_in_pyproject(Path.cwd()))
    return frozenset(names)


def _disabled_in_pyproject(start: Path) -> list[str]:
    for folder in (start, *start.parents):
        file = folder / "pyproject.toml"
        try:
            text = file.read_bytes()
        except OSError:
            continue
        if b"sam3port" not in text:
            return []
        import tomllib  # here, because few folders have such a file and this takes 4 ms

        try:
            tool = tomllib.loads(text.decode()).get("tool", {})
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{file} cannot be read: {error}") from None
        table = tool.get("sam3port", {}) if isinstance(tool, dict) else {}
        if not isinstance(table, dict) or table.keys() - {"disable"}:
            raise UsageError(f"[tool.sam3port] in {file} must have the key disable and nothing else, not {table!r}")
        disable = table.get("disable", [])
        if not isinstance(disable, list) or not all(isinstance(name, str) for name in disable):
            raise UsageError(f"[tool.sam3port] disable in {file} must be a list of names")
        return disable
    return []


def load_plugins(blocked: frozenset[str] = frozenset()) -> Plugins:
    """The plugin manager with everything registered; a misspelt hook is refused here.

    Args:
        blocked: names that are switched off. A third-party plugin of such a name is not even imported, so that a
            broken one cannot stand in the way.
    """
    return _load(frozenset(blocked))


@functools.cache
def _load(blocked: frozenset[str]) -> Plugins:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    for module in (*BUILT_IN, *_patch_modules()):
        manager.register(importlib.import_module(module), module.removeprefix("sam3port.patches."))
    skipped = frozenset(_register_third_parties(manager, blocked))
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        name = manager.get_name(error.plugin) or ""
        raise UsageError(f"the plugin {name} implements a hook that does not exist: {error}", _off(name)) from None
    return Plugins(manager, skipped)


def _patch_modules() -> list[str]:
    package = importlib.import_module("sam3port.patches")
    return [f"sam3port.patches.{module.name}" for module in pkgutil.iter_modules(package.__path__)]


def _register_third_parties(manager: pluggy.PluginManager, blocked: frozenset[str]) -> list[str]:
    from importlib.metadata import entry_points

    skipped = []
    for entry in entry_points(group=hookspecs.PROJECT):
        if entry.name in blocked:
            skipped.append(entry.name)
            continue
        name = f"the plugin {entry.name} ({entry.value})"
        try:
            plugin = entry.load()
        except Exception as error:
            problem = f"{name} cannot be loaded: {type(error).__name__}: {error}"
            raise Sam3PortError(problem, _off(entry.name)) from error
        try:
            manager.register(plugin, entry.name)
        except (pluggy.PluginValidationError, ValueError) as error:
            raise UsageError(f"{name} is refused: {error}", _off(entry.name)) from None
        if not manager.get_hookcallers(plugin):
            problem = f"{name} implements no hook: its functions need sam3port.hookspecs.hookimpl"
            raise UsageError(problem, _off(entry.name))
    return skipped
