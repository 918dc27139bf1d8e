"""What to do with which upstream: the source, and the patches that apply to it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sam3port.patching.drift import Drift, PatchDrift, apply_patches, diagnose
from sam3port.patching.edits import edits_by_module
from sam3port.patching.patch import Edit, Patch

if TYPE_CHECKING:
    from sam3port.upstream.source import Upstream

PACKAGE: Final = "sam3"


@dataclass
class Plan:
    """An upstream and the patches for it. Knows the source, not the interpreter."""

    upstream: Upstream
    patches: tuple[Patch, ...]
    """The enabled patches that this machine needs."""
    not_needed: dict[str, str] = field(default_factory=dict)
    """Enabled patches that this machine does without, and why."""
    disabled: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self._edits = edits_by_module(self.patches)
        self._patched: dict[str, tuple[str, str]] = {}

    def edits(self, module: str) -> list[tuple[Patch, Edit]]:
        return self._edits.get(module, [])

    def edited_modules(self) -> tuple[str, ...]:
        return tuple(sorted(self._edits))

    def file(self, module: str) -> Path | None:
        """The module's source file, None when upstream has no such module."""
        base = self.upstream.root.joinpath(*module.split("."))
        for file in (base / "__init__.py", base.with_suffix(".py")):
            if file.is_file():
                return file
        return None

    def pristine(self, module: str) -> str | None:
        """Upstream's own text of a module, proved against the pin, with newlines as ``\\n``."""
        file = self.file(module)
        if file is None:
            return None
        data = file.read_bytes()
        self.upstream.check(file.relative_to(self.upstream.root).as_posix(), data)
        return importlib.util.decode_source(data)

    def patched(self, module: str, source: str) -> str:
        """``source`` with the module's edits.

        Raises:
            PatchDrift: one does not match.
        """
        edits = self.edits(module)
        if not edits:
            return source
        before, after = self._patched.get(module, (None, ""))
        if before != source:
            after = apply_patches(module, source, edits, self.other_modules)
            self._patched[module] = source, after
        return after

    def require(self) -> None:
        """Makes sure that every edit applies, also those of modules that are imported later or never.

        Otherwise a module that upstream renamed would never be missed, and upstream's own ``except Exception``
        (sam3/model/utils/sam1_utils.py:106) would swallow the error of one that is imported inside of a function.

        Raises:
            PatchDrift: one does not.
        """
        for module, edits in self._edits.items():
            source = self.pristine(module)
            if source is None:
                raise PatchDrift(diagnose(*edits[0], None, self.other_modules))
            self.patched(module, source)

    def other_modules(self) -> Iterator[tuple[str, str]]:
        """(name, source) of every module of upstream."""
        for file in sorted((self.upstream.root / PACKAGE).rglob("*.py")):
            parts = file.relative_to(self.upstream.root).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), _readable(file)

    def drifts(self) -> list[Drift]:
        """Every edit that does not apply, whatever is imported or not."""
        found = []
        for module, edits in self._edits.items():
            source = self.pristine(module)
            if source is None:
                found += [diagnose(patch, edit, None, self.other_modules) for patch, edit in edits]
                continue
            try:
                self.patched(module, source)
            except PatchDrift as first:
                alone = [self._drift_alone(module, source, patch, edit) for patch, edit in edits]
                # If each of them applies alone, two are in each other's way.
                found += [drift for drift in alone if drift is not None] or [first.drift]
        return found

    def _drift_alone(self, module: str, source: str, patch: Patch, edit: Edit) -> Drift | None:
        try:
            apply_patches(module, source, [(patch, edit)], self.other_modules)
        except PatchDrift as missed:
            return missed.drift
        return None


def _readable(file: Path) -> str:
    try:
        return importlib.util.decode_source(file.read_bytes())
    except (OSError, SyntaxError, UnicodeDecodeError):
        return ""
