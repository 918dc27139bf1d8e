"""Whether two pieces of code differ in their layout only: in what a formatter such as Black may change."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

# Not `tokenize`: a piece of code may begin or end anywhere, and what it makes of that differs between versions.
_LEXEME: Final = re.compile(
    r"""
    (?P<layout>  \s+ | \\\n | \#[^\n]* )
  | (?P<literal> [rRbBuUfF]{0,2} (?: \"{3}(?:\\.|[^\\])*?\"{3} | '{3}(?:\\.|[^\\])*?'{3}
                                   | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' )
               | 0[xXoObB][\da-fA-F_]+ | (?: \d[\d_]*\.?[\d_]* | \.\d[\d_]* ) (?: [eE][+-]?\d+ )? [jJ]? )
  | (?P<other>   \w+ | . )
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(slots=True)
class _Lexeme:
    text: str
    """Normalised: of a literal its syntax tree."""
    start: int
    end: int
    """With the parentheses around it that were dropped."""


def same_code(text: str, source: str, within: tuple[int, int]) -> bool:
    """Whether the code ``text`` stands in ``source[slice(*within)]``, laid out in any way.

    White space, line breaks, comments, quotes, trailing commas and parentheses around an expression may differ; the
    syntax tree of the whole ``source`` must stay the same when ``text`` is put in the place that was found.
    """
    needle = _without_ends(_lexemes(text, 0, len(text)))
    hay = _lexemes(source, *within)
    wanted, found = [lexeme.text for lexeme in needle], [lexeme.text for lexeme in hay]
    size = len(wanted)
    whole = _ends_statement(text)
    for at in range(len(found) - size + 1 if size else 0):
        if found[at : at + size] == wanted:
            start, end = hay[at].start, hay[at + size - 1].end
            if whole and not _STATEMENT_END.match(source, end):
                continue
            piece = text[needle[0].start : needle[-1].end]
            if _same_tree(source, source[:start] + piece + source[end:]):
                return True
    return False


_STATEMENT_END: Final = re.compile(r"[ \t]*(?:[;#\n]|\Z)")


def _ends_statement(text: str) -> bool:
    """Whether ``text`` goes to the end of a line that no bracket continues."""
    lexemes = list(_split(text, 0, len(text)))
    opened = sum((lexeme.text in {"(", "[", "{"}) - (lexeme.text in {")", "]", "}"}) for lexeme in lexemes)
    return bool(lexemes) and opened <= 0 and lexemes[-1].text != "," and "\n" in text[lexemes[-1].end :]


def _same_tree(source: str, other: str) -> bool:
    try:
        return ast.dump(ast.parse(source)) == ast.dump(ast.parse(other))
    except SyntaxError:
        return True  # The piece has another indentation or half a pair of parentheses: the lexemes have to do.


def _lexemes(source: str, start: int, end: int) -> list[_Lexeme]:
    return _without_optional_punctuation(_split(source, start, end))


def _split(source: str, start: int, end: int) -> Iterator[_Lexeme]:
    for match in _LEXEME.finditer(source, start, end):
        if match.lastgroup != "layout":
            text = match.group()
            yield _Lexeme(_normal(text) if match.lastgroup == "literal" else text, match.start(), match.end())


def _normal(literal: str) -> str:
    try:
        return ast.dump(ast.parse(literal, mode="eval"))
    except SyntaxError:
        return literal


def _without_optional_punctuation(lexemes: Iterator[_Lexeme]) -> list[_Lexeme]:
    """Drops trailing commas, and the parentheses that a formatter wraps around an expression."""
    kept: list[_Lexeme] = []
    dropped_open: list[bool] = []
    start: int | None = None
    for lexeme in lexemes:
        if lexeme.text == "(":
            call = bool(kept) and start is None and _ends_operand(kept[-1].text)
            dropped_open.append(not call)
            if not call:
                start = lexeme.start if start is None else start
                continue
        elif lexeme.text in {")", "]", "}"}:
            if kept and kept[-1].text == ",":
                kept.pop()
            if lexeme.text == ")" and dropped_open and dropped_open.pop() and kept:
                kept[-1].end = lexeme.end
                continue
        if start is not None:
            lexeme.start, start = start, None
        kept.append(lexeme)
    return kept


def _without_ends(lexemes: list[_Lexeme]) -> list[_Lexeme]:
    """Drops what a piece of code may begin or end with and another layout may lack: half a pair, a trailing comma."""
    while lexemes and lexemes[0].text == ")":
        lexemes = lexemes[1:]
    while lexemes and lexemes[-1].text == ",":
        lexemes = lexemes[:-1]
    return lexemes


def _ends_operand(text: str) -> bool:
    """Whether a ``(`` after ``text`` opens a call; else it only groups."""
    return text in {")", "]", "}"} or (text.isidentifier() and not keyword.iskeyword(text))
