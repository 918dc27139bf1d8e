"""A stand-in for a module that is not installed: importable, decoratable, never silently callable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from sam3port.errors import StubError


@dataclass(frozen=True, slots=True)
class Stub:
    """Declares what upstream may do with an absent module while it is being imported."""

    module: str
    """Top-level name, ``triton``."""
    reason: str
    """Why it is absent on such a machine and what to use instead; ends every error message."""
    decorators: frozenset[str] = frozenset()
    """Attributes used as decorators (``jit``, or ``autotune`` with arguments): they return a function that raises."""
    constructors: frozenset[str] = frozenset()
    """Attributes called while upstream is imported (``Config``); the result is inert."""


class AbsentAttribute:
    """Any attribute of an absent module. Attribute access goes on; calling raises unless the stub allows it."""

    def __init__(self, stub: Stub, path: str) -> None:
        self._stub = stub
        self._path = path

    def __getattr__(self, name: str) -> AbsentAttribute:
        # Not what Python and its tools ask any object for, and not our own while copy and pickle make an empty one.
        if (name.startswith("__") and name.endswith("__")) or name in {"_stub", "_path"}:
            raise AttributeError(name)
        return AbsentAttribute(self._stub, f"{self._path}.{name}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name = self._path.removeprefix(f"{self._stub.module}.")
        if name in self._stub.constructors:
            return AbsentAttribute(self._stub, self._path)
        if name in self._stub.decorators:
            return self._decorate(*args) if args and callable(args[0]) else self._decorate
        raise _error(self._stub, self._path)

    def _decorate(self, *args: Any, **_kwargs: Any) -> AbsentFunction:
        if not (args and callable(args[0])):
            raise _error(self._stub, self._path)
        return AbsentFunction(self._stub, getattr(args[0], "__name__", self._path))

    def __mro_entries__(self, _bases: tuple[Any, ...]) -> NoReturn:
        raise _error(self._stub, self._path)

    def __repr__(self) -> str:
        return f"<{self._path}: {self._stub.module} is not installed>"


class AbsentFunction(AbsentAttribute):
    """A decorated kernel of an absent module. Calling or subscripting it raises `StubError`."""

    def __init__(self, stub: Stub, name: str) -> None:
        super().__init__(stub, name)
        self.__name__ = name

    def __call__(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise _error(self._stub, self._path)

    def __getitem__(self, _grid: Any) -> NoReturn:
        raise _error(self._stub, self._path)


def _error(stub: Stub, name: str) -> StubError:
    return StubError(f"{name} was called, but the module {stub.module} is not installed here", stub.reason)
