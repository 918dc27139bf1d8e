"""Why an edit does not match the upstream at hand, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sam3port.errors import PatchError
from sam3port.patching.edits import (
    EditConflict,
    EditMiss,
    Span,
    already_replaced,
    apply_edits,
    occurrences,
    symbol_spans,
)
from sam3port.patching.layout import same_code
from sam3port.patching.patch import Edit, Patch

if TYPE_CHECKING:
    from collections.abc import Sequence


class Verdict(StrEnum):
    """What happened to the text that an edit replaces."""

    REFORMATTED = "reformatted"
    EDITED = "edited"
    MOVED = "moved"
    AMBIGUOUS = "ambiguous"
    ALREADY_FIXED = "already fixed"
    MODULE_GONE = "module gone"
    IMPORTED_TOO_EARLY = "imported too early"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Drift:
    """One edit that does not apply."""

    patch: str
    edit: Edit
    verdict: Verdict
    detail: str

    @property
    def where(self) -> str:
        return f"{self.edit.module}:{self.edit.symbol}" if self.edit.symbol else self.edit.module

    def __str__(self) -> str:
        return f"the patch {self.patch} does not apply to {self.where}: {self.verdict}: {self.detail}"


class PatchDrift(PatchError):
    """A patch misses. Never a quiet no-op: the model would run, and be wrong or slow."""

    def __init__(self, drift: Drift) -> None:
        super().__init__(str(drift), ways_out(drift))
        self.drift = drift

    def __reduce__(self) -> tuple[type[PatchDrift], tuple[Drift]]:
        """multiprocessing sends errors of its workers as pickles, and waits for ever for one that does not open."""
        return type(self), (self.drift,)


INSTALL_FIRST: Final = "call sam3port.install() before anything imports sam3"


def ways_out(drift: Drift) -> str:
    """What the user can do, for each verdict."""
    off = f"switch it off with --disable {drift.patch} (or SAM3PORT_DISABLE={drift.patch})"
    pin = "use the pinned upstream (unset SAM3PORT_UPSTREAM)"
    match drift.verdict:
        case Verdict.ALREADY_FIXED:
            return f"{off}: this upstream no longer needs it"
        case Verdict.IMPORTED_TOO_EARLY:
            return INSTALL_FIRST
        case Verdict.CONFLICT:
            return "switch one of the two off with --disable NAME"
        case _:
            return f"{pin}, or {off} if this upstream works without it, or update the patch's text"


def diagnose(patch: Patch, edit: Edit, source: str | None, elsewhere: Callable[[], Iterable[tuple[str, str]]]) -> Drift:
    """The verdict on an edit that missed.

    Args:
        patch: the patch that the edit belongs to.
        edit: the edit that missed.
        source: the module's pristine source, None when there is no such module.
        elsewhere: gives (module name, source) of every other upstream module; called only when needed.
    """

    def verdict(kind: Verdict, detail: str) -> Drift:
        return Drift(patch.name, edit, kind, detail)

    if source is None:
        moved_to = _modules_with(edit, elsewhere())
        if moved_to:
            return verdict(Verdict.MODULE_GONE, f"there is no such module; its text now stands in {moved_to}")
        return verdict(Verdict.MODULE_GONE, "there is no such module in this upstream")
    spans = symbol_spans(source)
    symbol = spans.get(edit.symbol)
    if symbol is not None:
        if already_replaced(source, edit, symbol):
            return verdict(Verdict.ALREADY_FIXED, "the replacement already stands there")
        count = len(occurrences(source, edit.before, symbol))
        if count > 1:
            return verdict(Verdict.AMBIGUOUS, f"the text occurs {count} times in it")
        if any(same_code(edit.before, source, (span.start, span.end)) for span in symbol):
            return verdict(Verdict.REFORMATTED, "the same code stands there in another layout")
        if edit.after_is_telling and any(same_code(edit.after, source, (span.start, span.end)) for span in symbol):
            return verdict(Verdict.ALREADY_FIXED, "the replacement already stands there, in another layout")
    # Where another edit of the patch expects the same text, it has always stood.
    known = {other.symbol for other in patch.edits if (other.module, other.before) == (edit.module, edit.before)}
    owners = [owner for owner in _symbols_with(source, edit.before, spans) if owner not in known]
    if owners:
        return verdict(Verdict.MOVED, f"the text now stands in {edit.module}:{owners[0] or '(module level)'}")
    if symbol is None:
        moved_to = _modules_with(edit, elsewhere())
        if moved_to:
            return verdict(Verdict.MOVED, f"the symbol and its text now stand in {moved_to}")
        return verdict(Verdict.EDITED, "the symbol is gone")
    return verdict(Verdict.EDITED, "the text to replace no longer stands there")


def apply_patches(
    module: str,
    source: str,
    patches: Sequence[tuple[Patch, Edit]],
    elsewhere: Callable[[], Iterable[tuple[str, str]]],
) -> str:
    """The patched source of one module.

    Raises:
        PatchDrift: an edit misses or two of them overlap.
    """
    try:
        return apply_edits(source, [edit for _, edit in patches])
    except EditMiss as missed:
        edit = missed.miss.edit
        raise PatchDrift(diagnose(_owners(edit, patches)[0], edit, source, elsewhere)) from None
    except EditConflict as conflict:
        first, second = _owners(conflict.first, patches)[0].name, _owners(conflict.second, patches)[-1].name
        raise PatchDrift(
            Drift(
                second,
                conflict.second,
                Verdict.CONFLICT,
                f"it replaces text that the patch {first} replaces too",
            )
        ) from None
    except SyntaxError as error:
        raise PatchError(
            f"upstream's module {module} is not valid Python (line {error.lineno}: {error.msg})",
            "run `sam3port upstream verify`: the file may have been changed",
        ) from None


def _owners(edit: Edit, patches: Sequence[tuple[Patch, Edit]]) -> list[Patch]:
    """Several, when one patch has taken over an edit of another."""
    return [patch for patch, other in patches if other is edit]


def _symbols_with(source: str, text: str, spans: dict[str, list[Span]]) -> Iterator[str]:
    """For each time that ``text`` occurs in ``source``, the innermost symbol around it."""
    for at in occurrences(source, text, [Span(0, len(source))]):
        around = [
            (span.end - span.start, name)
            for name, found in spans.items()
            for span in found
            if name and span.start <= at and at + len(text) <= span.end
        ]
        yield min(around)[1] if around else ""


def _modules_with(edit: Edit, modules: Iterable[tuple[str, str]]) -> str:
    """The modules in which the edit's symbol, by the same name, holds the text; the text alone may stand anywhere."""
    found = [
        name
        for name, source in modules
        if edit.before in source and occurrences(source, edit.before, symbol_spans(source).get(edit.symbol, ()))
    ]
    return ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
