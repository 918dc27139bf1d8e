"""Text to text: applies edits to the source of one module. Imports nothing of upstream, touches no file."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sam3port.patching.patch import Edit, Patch


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of character offsets."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Miss:
    """An edit whose text did not occur exactly once in its symbol, or had been replaced already."""

    edit: Edit
    occurrences: int
    symbol_found: bool


class EditMiss(Exception):
    """Internal: carries the miss to whoever can diagnose it (`sam3port.patching.drift`)."""

    def __init__(self, miss: Miss) -> None:
        super().__init__(f"{miss.edit.module}:{miss.edit.symbol}: {miss.occurrences} occurrences")
        self.miss = miss


class EditConflict(Exception):
    """Internal: two edits replace overlapping text of the same module."""

    def __init__(self, first: Edit, second: Edit) -> None:
        super().__init__(f"overlapping edits in {first.module}")
        self.first = first
        self.second = second


def symbol_spans(source: str) -> dict[str, list[Span]]:
    """Where each class and function stands, by qualified name, decorators included.

    A name that is defined several times (in the branches of an ``if``, as overloads) has several spans.
    The empty name is the module level: what lies between the definitions. A line that upstream has moved from there
    into a function is not the same line any more.

    Raises:
        SyntaxError: ``source`` is not Python.
    """
    starts = [0]
    for line in source.split("\n"):  # as Python counts lines; splitlines() also breaks at form feeds
        starts.append(min(starts[-1] + len(line) + 1, len(source)))
    spans: dict[str, list[Span]] = {"": []}
    for name, node in _definitions(ast.parse(source), ""):
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        end_line = node.end_lineno or node.lineno
        spans.setdefault(name, []).append(Span(starts[first - 1], starts[end_line]))
    end = 0
    for span in sorted((span for found in spans.values() for span in found), key=lambda span: span.start):
        if span.start > end:
            spans[""].append(Span(end, span.start))
        end = max(end, span.end)
    spans[""].append(Span(end, len(source)))
    return spans


_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _definitions(node: ast.AST, prefix: str) -> Iterator[tuple[str, _Definition]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _Definition):
            name = f"{prefix}{child.name}"
            yield name, child
            yield from _definitions(child, f"{name}.")
        elif isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            yield from _definitions(child, prefix)


def occurrences(source: str, text: str, spans: Iterable[Span]) -> list[int]:
    """Every offset at which ``text`` stands inside one of ``spans``; overlapping finds count."""
    found: set[int] = set()
    for span in spans:
        at = source.find(text, span.start, span.end)
        while at >= 0:
            found.add(at)
            at = source.find(text, at + 1, span.end)
    return sorted(found)


def already_replaced(source: str, edit: Edit, spans: Iterable[Span]) -> bool:
    """Whether ``edit.after`` stands in ``spans`` and ``edit.before`` at most inside of it.

    Many replacements hold the text that they replace. Where upstream has taken one over, the text would still be
    found, once, and be replaced a second time.
    """
    if not edit.after_is_telling:
        return False
    done = [range(at, at + len(edit.after)) for at in occurrences(source, edit.after, spans)]
    inside = [
        any(at in text and at + len(edit.before) - 1 in text for text in done)
        for at in occurrences(source, edit.before, spans)
    ]
    return bool(done) and all(inside)


def locate_edit(source: str, edit: Edit, spans: dict[str, list[Span]]) -> Span:
    """The one place that ``edit`` replaces.

    Raises:
        EditMiss: the symbol is gone, or the text does not occur exactly once in it.
    """
    symbol = spans.get(edit.symbol)
    if symbol is None:
        raise EditMiss(Miss(edit, 0, symbol_found=False))
    found = occurrences(source, edit.before, symbol)
    if len(found) != 1 or already_replaced(source, edit, symbol):
        raise EditMiss(Miss(edit, len(found), symbol_found=True))
    return Span(found[0], found[0] + len(edit.before))


def apply_edits(source: str, edits: Sequence[Edit]) -> str:
    """``source`` with every edit applied; all of them are matched against the pristine text.

    Raises:
        EditMiss: one does not match exactly once.
        EditConflict: two replace overlapping text.
    """
    if not edits:
        return source
    spans = symbol_spans(source)
    placed = sorted(((locate_edit(source, edit, spans), edit) for edit in edits), key=lambda at: at[0].start)
    for (span, edit), (next_span, next_edit) in pairwise(placed):
        if next_span.start < span.end:
            raise EditConflict(edit, next_edit)
    parts: list[str] = []
    end = 0
    for span, edit in placed:
        parts += [source[end : span.start], edit.after]
        end = span.end
    parts.append(source[end:])
    return "".join(parts)


def edits_by_module(patches: Iterable[Patch]) -> dict[str, list[tuple[Patch, Edit]]]:
    """The edits of all patches, gathered by the module that they change."""
    gathered: dict[str, list[tuple[Patch, Edit]]] = {}
    for patch in patches:
        for edit in patch.edits:
            gathered.setdefault(edit.module, []).append((patch, edit))
    return gathered
