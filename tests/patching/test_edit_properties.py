"""What holds for any source and any edits."""

from __future__ import annotations

import ast

from hypothesis import given
from hypothesis import strategies as st

from sam3port.patching import Edit
from sam3port.patching.edits import apply_edits, symbol_spans

# Not what Python's own reader changes or refuses (carriage returns, NUL, surrogates); no M, as in MARK.
TEXT = st.text(st.characters(blacklist_characters="\r\0M", blacklist_categories=("Cs",)), max_size=12)
SPACE = st.sampled_from(["", "\n", "\n\n", "\x0c\n", "# ü \u2028 \x1c\n", "'\U0001f600 \x85'\n"])


@st.composite
def modules(draw: st.DrawFn) -> tuple[str, list[Edit], dict[str, str]]:
    """A module of functions in classes and in branches, an edit of some of them, and each one's new text."""
    count = draw(st.integers(1, 5))
    parts, edits, after = [], [], {}
    for number in range(count):
        indent = draw(st.sampled_from(["    ", "\t", " "]))
        shape = draw(st.sampled_from(["plain", "method", "branch", "decorated"]))
        # The same text stands in every function: only the symbol tells them apart.
        body = f"return {draw(TEXT)!r}"
        comment = draw(TEXT).replace("\n", " ")
        name = f"f{number}"
        head = f"def {name}():  # {comment}\n"
        match shape:
            case "plain":
                symbol, text = name, f"{head}{indent}MARK({number}); {body}\n"
            case "decorated":
                symbol, text = name, f"@d\n@e('{number}')\n{head}{indent}MARK({number}); {body}\n"
            case "branch":
                symbol, text = name, f"if x:\n{indent}{head}{indent}{indent}MARK({number}); {body}\n"
            case _:
                symbol, text = (
                    f"C{number}.{name}",
                    f"class C{number}:\n{indent}{head}{indent * 2}MARK({number}); {body}\n",
                )
        parts += [draw(SPACE), text]
        if draw(st.booleans()):
            new = f"CHANGED({draw(TEXT)!r})"
            edits.append(Edit("sam3.demo", symbol, "MARK", new))
            after[symbol] = new
    parts.append(draw(st.sampled_from(["", "x = 1", "\n", "# ende"])))
    return "".join(parts), edits, after


@given(modules())
def test_nothing_outside_the_replaced_text_changes(drawn: tuple[str, list[Edit], dict[str, str]]) -> None:
    source, edits, after = drawn
    ast.parse(source)
    result = apply_edits(source, edits)
    spans = {symbol: found for symbol, found in symbol_spans(source).items() if symbol in after}
    expected, at = "", 0
    for symbol, (span,) in sorted(spans.items(), key=lambda item: item[1][0].start):
        start = source.index("MARK", span.start)
        expected += source[at:start] + after[symbol]
        at = start + len("MARK")
    assert result == expected + source[at:]


@given(modules(), st.randoms(use_true_random=False))
def test_order_does_not_matter(drawn: tuple[str, list[Edit], dict[str, str]], random: object) -> None:
    source, edits, _ = drawn
    shuffled = list(edits)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert apply_edits(source, shuffled) == apply_edits(source, edits)


@given(modules())
def test_edits_can_be_taken_back(drawn: tuple[str, list[Edit], dict[str, str]]) -> None:
    source, edits, _ = drawn
    back = [Edit(e.module, e.symbol, e.after, e.before) for e in edits]
    assert apply_edits(apply_edits(source, edits), back) == source


@given(modules())
def test_spans_are_the_definitions(drawn: tuple[str, list[Edit], dict[str, str]]) -> None:
    """Each span, cut out and unindented, is that definition and nothing else."""
    source = drawn[0]
    for symbol, spans in symbol_spans(source).items():
        for span in spans:
            text = source[span.start : span.end]
            if not symbol:
                continue
            indented = text if text[0] in "@dc" else f"if 1:\n{text}"
            (node,) = ast.parse(indented).body
            node = node.body[0] if isinstance(node, ast.If) else node
            assert isinstance(node, ast.FunctionDef | ast.ClassDef)
            assert node.name == symbol.rpartition(".")[2]


@given(modules())
def test_module_level_is_all_the_rest(drawn: tuple[str, list[Edit], dict[str, str]]) -> None:
    """The outermost definitions and the gaps between them make up the source, without overlap."""
    source = drawn[0]
    spans = symbol_spans(source)
    pieces = [span for symbol, found in spans.items() for span in found if "." not in symbol and span.end > span.start]
    pieces.sort(key=lambda span: span.start)
    assert "".join(source[span.start : span.end] for span in pieces) == source
