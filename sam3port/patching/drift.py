"""Why an edit does not match the upstream at hand, and what to do about it."""

from __future__ import annotations

import ast
import io
import keyword
import tokenize
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sam3port.errors import PatchError
from sam3port.patching.edits import EditConflict, EditMiss, apply_edits, occurrences, symbol_spans
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


def ways_out(drift: Drift) -> str:
    """What the user can do, for each verdict."""
    off = f"switch it off with --disable {drift.patch} (or SAM3PORT_DISABLE={drift.patch})"
    pin = "use the pinned upstream (unset SAM3PORT_UPSTREAM)"
    match drift.verdict:
        case Verdict.ALREADY_FIXED:
            return f"{off}: this upstream no longer needs it"
        case Verdict.IMPORTED_TOO_EARLY:
            return "call sam3port.install() before anything imports sam3"
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
        count = len(occurrences(source, edit.before, symbol))
        if count > 1:
            return verdict(Verdict.AMBIGUOUS, f"the text occurs {count} times in it")
        if edit.after.strip() and occurrences(source, edit.after, symbol):
            return verdict(Verdict.ALREADY_FIXED, "the replacement already stands there")
        texts = [source[span.start : span.end] for span in symbol]
        if any(_same_tokens(edit.before, text) for text in texts):
            return verdict(Verdict.REFORMATTED, "the same code stands there in another layout")
        if edit.after.strip() and any(_same_tokens(edit.after, text) for text in texts):
            return verdict(Verdict.ALREADY_FIXED, "the replacement already stands there, in another layout")
    owner = _symbol_with(source, edit.before)
    if owner is not None and owner != edit.symbol:
        return verdict(Verdict.MOVED, f"the text now stands in {edit.module}:{owner or '(module level)'}")
    if symbol is None:
        moved_to = _modules_with(edit, ((m, s) for m, s in elsewhere() if m != edit.module))
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
    owners = {id(edit): patch for patch, edit in patches}
    try:
        return apply_edits(source, [edit for _, edit in patches])
    except EditMiss as missed:
        edit = missed.miss.edit
        raise PatchDrift(diagnose(owners[id(edit)], edit, source, elsewhere)) from None
    except EditConflict as conflict:
        first, second = owners[id(conflict.first)].name, owners[id(conflict.second)].name
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


def _symbol_with(source: str, text: str) -> str | None:
    """The innermost symbol of ``source`` that holds ``text``, None when it does not occur."""
    at = source.find(text)
    if at < 0:
        return None
    owner, size = "", len(source) + 1
    for name, spans in symbol_spans(source).items():
        for span in spans:
            if span.start <= at and at + len(text) <= span.end and span.end - span.start < size:
                owner, size = name, span.end - span.start
    return owner


def _modules_with(edit: Edit, modules: Iterable[tuple[str, str]]) -> str:
    """The modules in which the edit's symbol, by the same name, holds the text; the text alone may stand anywhere."""
    found = [
        name
        for name, source in modules
        if edit.before in source and occurrences(source, edit.before, symbol_spans(source).get(edit.symbol, ()))
    ]
    return ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")


def _same_tokens(text: str, source: str) -> bool:
    """Whether the code ``text`` occurs in ``source`` up to layout: white space, breaks, quotes, trailing commas."""
    needle, hay = _normal_tokens(text), _normal_tokens(source)
    if not needle or len(needle) > len(hay):
        return False
    size = len(needle)
    return any(hay[at : at + size] == needle for at in range(len(hay) - size + 1))


_LAYOUT = {
    tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT,
    tokenize.ENCODING, tokenize.ENDMARKER,
}  # fmt: skip


def _normal_tokens(text: str) -> list[str]:
    """The tokens of a fragment that a formatter cannot change; as many as can be read."""
    tokens: list[str] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type in _LAYOUT:
                continue
            tokens.append(_normal_string(token.string) if token.type == tokenize.STRING else token.string)
    except (tokenize.TokenError, SyntaxError, IndentationError):
        pass  # A fragment may end inside a bracket; what was read so far is still comparable.
    return _without_optional_punctuation(tokens)


def _normal_string(literal: str) -> str:
    try:
        return repr(ast.literal_eval(literal))
    except (ValueError, SyntaxError):
        return literal


def _without_optional_punctuation(tokens: list[str]) -> list[str]:
    """Drops trailing commas, and the parentheses that a formatter wraps around an expression.

    ``(`` opens a call, and stays, only after a name or a closing bracket.
    """
    kept: list[str] = []
    dropped_open: list[bool] = []
    for token in tokens:
        if token == "(":
            before = kept[-1] if kept else ""
            call = (
                bool(before)
                and not keyword.iskeyword(before)
                and (before.isidentifier() or before in {")", "]"} or before[-1] in "'\"")
            )
            dropped_open.append(not call)
            if not call:
                continue
        elif token in {")", "]", "}"}:
            if kept and kept[-1] == ",":
                kept.pop()
            if token == ")" and dropped_open and dropped_open.pop():
                continue
        kept.append(token)
    return kept
