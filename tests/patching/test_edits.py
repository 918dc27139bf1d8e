"""Edits as before/after texts; beside each, what must not fire."""

from __future__ import annotations

import ast
import importlib.util
from textwrap import dedent

import pytest

from sam3port.patching import Edit
from sam3port.patching.edits import EditConflict, EditMiss, apply_edits, symbol_spans


def edit(symbol: str, before: str, after: str) -> Edit:
    return Edit("sam3.model.demo", symbol, before, after)


def changed(source: str, *edits: Edit) -> str:
    return apply_edits(dedent(source), edits)


def missed(source: str, wanted: Edit) -> tuple[int, bool]:
    """How often the text occurred in the symbol, and whether the symbol was there."""
    with pytest.raises(EditMiss) as caught:
        apply_edits(dedent(source), [wanted])
    return caught.value.miss.occurrences, caught.value.miss.symbol_found


TWINS = """\
    def first():
        return make(device="cuda")

    def second():
        return make(device="cuda")
    """


def test_the_symbol_is_changed_and_its_twin_is_not() -> None:
    assert changed(TWINS, edit("second", '"cuda"', '"cpu"')) == dedent(
        """\
        def first():
            return make(device="cuda")

        def second():
            return make(device="cpu")
        """
    )


def test_module_level_is_not_inside_of_functions() -> None:
    """A top-level import that became a local one would be replaced by lines without its indentation."""
    assert missed(TWINS, edit("", '"cuda"', '"cpu"')) == (0, True)
    local = "import a\n\ndef f():\n    import b\n\nif x:\n    class C:\n        import c\n"
    assert missed(local, edit("", "import b\n", "b = None\n")) == (0, True)
    assert missed(local, edit("", "import c\n", "c = None\n")) == (0, True)
    assert apply_edits(local, [edit("", "import a\n", "a = None\n")]) == local.replace("import a", "a = None")


def test_module_level_is_before_between_and_after() -> None:
    source = "a = 1\ndef f():\n    pass\nb = 1\nclass C:\n    pass\nif x:\n    c = 1\n    def g(): pass\n    d = 1\n"
    for name in "abcd":
        assert apply_edits(source, [edit("", f"{name} = 1", "e = 2")]) == source.replace(f"{name} = 1", "e = 2")


def test_text_beside_the_symbol_does_not_count() -> None:
    assert missed(TWINS, edit("second", "def first", "def last")) == (0, True)


def test_a_symbol_that_is_gone() -> None:
    assert missed(TWINS, edit("third", '"cuda"', '"cpu"')) == (0, False)


def test_text_that_begins_in_the_symbol_and_ends_outside_does_not_count() -> None:
    source = "def f():\n    return 1\n\n\nX = 2\n"
    assert missed(source, edit("f", "return 1\n\n\nX = 2", "pass")) == (0, True)
    assert missed(source, edit("", "return 1\n\n\nX = 2", "pass")) == (0, True)


def test_overlapping_occurrences_are_counted() -> None:
    assert missed("x = 'aaa'\n", edit("", "aa", "b")) == (2, True)


NESTED = """\
    class Outer:
        size = 1

        class Inner:
            size = 2

            def get(self):
                def helper():
                    return self.size
                return helper()

        def get(self):
            return self.size
    """


@pytest.mark.parametrize(
    ("symbol", "before", "line"),
    [
        ("Outer.Inner", "size = 2", 4),
        ("Outer.Inner.get", "return self.size", 8),
        ("Outer.Inner.get.helper", "return self.size", 8),
        ("Outer.get", "return self.size", 12),
    ],
)
def test_nested_symbols(symbol: str, before: str, line: int) -> None:
    lines = dedent(NESTED).split("\n")
    result = changed(NESTED, edit(symbol, before, "pass")).split("\n")
    assert [number for number, text in enumerate(result) if text != lines[number]] == [line]


def test_a_class_holds_its_methods() -> None:
    assert missed(NESTED, edit("Outer", "return self.size", "pass")) == (2, True)


def test_an_inner_name_is_not_found_by_its_last_part() -> None:
    assert missed(NESTED, edit("helper", "return self.size", "pass")) == (0, False)
    assert missed(NESTED, edit("Inner", "size = 2", "pass")) == (0, False)


DECORATED = """\
    @first
    @second(mode="cuda")
    def f():
        return 0

    @third(mode="cuda")
    class C:
        pass
    """


def test_decorators_belong_to_what_they_decorate() -> None:
    assert '@second(mode="cpu")' in changed(DECORATED, edit("f", '"cuda"', '"cpu"'))
    assert '@third(mode="cpu")' in changed(DECORATED, edit("C", '"cuda"', '"cpu"'))


def test_a_decorator_on_several_lines() -> None:
    source = '@(\n    first(\n        mode="cuda"\n    )\n)\ndef f():\n    return 0\n'
    assert changed(source, edit("f", '"cuda"', '"cpu"')) == source.replace("cuda", "cpu")


def test_async_functions_and_lambdas() -> None:
    source = "async def f():\n    await g(1)\n\nh = lambda: g(1)\n"
    assert changed(source, edit("f", "g(1)", "g(2)")) == source.replace("await g(1)", "await g(2)")
    assert missed(source, edit("h", "g(1)", "g(2)")) == (0, False)


CONDITIONAL = """\
    try:
        import fast
    except ImportError:
        def run():
            return "slow"
    else:
        def run():
            return fast.run()

    if fast:
        def go():
            return 1
    else:
        def go():
            return 1

    with context():
        for _ in range(1):
            while True:
                class InLoop:
                    x = 1
                break

    match fast:
        case None:
            def matched():
                return 5
    """


@pytest.mark.parametrize(
    ("symbol", "before", "after"),
    [
        ("run", 'return "slow"', 'return "slower"'),
        ("run", "return fast.run()", "return fast.walk()"),
        ("InLoop", "x = 1", "x = 2"),
        ("matched", "return 5", "return 6"),
    ],
)
def test_conditional_definitions(symbol: str, before: str, after: str) -> None:
    assert changed(CONDITIONAL, edit(symbol, before, after)) == dedent(CONDITIONAL).replace(before, after)


def test_the_same_text_in_both_branches_is_ambiguous() -> None:
    assert missed(CONDITIONAL, edit("go", "return 1", "return 2")) == (2, True)


def test_text_between_two_definitions_of_a_name_does_not_count() -> None:
    assert missed(CONDITIONAL, edit("run", "else:", "finally:")) == (0, True)


def test_overloads_and_properties_share_a_name() -> None:
    source = """\
        class C:
            @property
            def x(self):
                return self._x

            @x.setter
            def x(self, value):
                self._x = value
        """
    assert "self._x = int(value)" in changed(source, edit("C.x", "self._x = value", "self._x = int(value)"))
    assert missed(source, edit("C.x", "def x(self", "def y(self"))[0] == 2


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    return 'cuda'",  # no newline at the end
        "def f():\n\treturn 'cuda'\n",  # tabs
        "\x0cdef f():\n    return 'cuda'\n",  # form feed at the start of a line
        "x = 1\n\x0c\ndef f():\n    return 'cuda'\n",  # ... on a line of its own
        "s = '\x0c\x1c\x85\u2028'\ndef f():\n    return 'cuda'\n",  # what str.splitlines takes for line ends
        "s = 'äöü \U0001f600 中文'\ndef f():  # é\n    return 'cuda'\n",
        "def f(): return 'cuda'\n",
        "def f():\n    s = '''\n\x0c\nü'''; return 'cuda'\n",
        "x = 1; y = 2\nclass A: z = 3\ndef f():\n    return 'cuda'\n\n\n",
        "def f():\n    return \\\n        'cuda'\n",
        "def f():\n    return 'cuda'\n\\\n\n",
    ],
)
def test_odd_layouts(source: str) -> None:
    result = apply_edits(source, [edit("f", "'cuda'", "'cpu'")])
    assert result == source.replace("'cuda'", "'cpu'")
    ast.parse(result)


@pytest.mark.parametrize("odd", ["\x0c", "\x1c", "\x85", "\u2028", "\U0001f600"])
def test_a_span_is_not_shifted_by_odd_characters_before_it(odd: str) -> None:
    source = f"s = '''{odd}{odd}{odd}\n{odd}'''\n\ndef f():\n    return 1\n\ndef g():\n    return 2\n"
    (span,) = symbol_spans(source)["f"]
    assert source[span.start : span.end] == "def f():\n    return 1\n"


def test_crlf_as_the_machinery_reads_it() -> None:
    """A checkout with CRLF is matched by the same edits: the loader decodes as Python does."""
    data = b"# coding: utf-8\r\ndef f():\r\n    x = 1\r\n    return x\r\n"
    source = importlib.util.decode_source(data)
    assert apply_edits(source, [edit("f", "x = 1\n    return x\n", "return 1\n")]) == (
        "# coding: utf-8\ndef f():\n    return 1\n"
    )


def test_crlf_left_as_it_is() -> None:
    source = "def f():\r\n    return 1\r\n\r\ndef g():\r\n    return 1\r\n"
    assert apply_edits(source, [edit("g", "return 1", "return 2")]) == source[:-10] + "return 2\r\n"


def test_edits_do_not_see_each_other() -> None:
    """The second would match what the first puts in, if they were applied one after the other."""
    source = "a = 1\nb = 2\n"
    edits = [edit("", "a = 1", "b = 2; a = 1"), edit("", "b = 2", "b = 3")]
    assert apply_edits(source, edits) == apply_edits(source, edits[::-1]) == "b = 2; a = 1\nb = 3\n"


def test_an_edit_cannot_create_the_place_of_another() -> None:
    with pytest.raises(EditMiss):
        apply_edits("a = 1\n", [edit("", "a = 1", "c = 1"), edit("", "c = 1", "d = 1")])


def test_edits_that_touch_do_not_conflict() -> None:
    assert apply_edits("abc = 1\n", [edit("", "ab", "x"), edit("", "c", "y")]) == "xy = 1\n"


@pytest.mark.parametrize(
    ("first", "second"), [("a = 1\nb", "b = 2"), ("a = 1", "a = 1"), ("a = 1\nb = 2", "= 1"), ("= 1", "a = 1\nb")]
)
def test_edits_that_overlap_conflict(first: str, second: str) -> None:
    one, other = edit("", first, "p"), edit("", second, "q")
    with pytest.raises(EditConflict) as caught:
        apply_edits("a = 1\nb = 2\n", [one, other])
    assert {caught.value.first, caught.value.second} == {one, other}


def test_text_is_deleted() -> None:
    assert apply_edits("a = 1\nb = 2\n", [edit("", "a = 1\n", "")]) == "b = 2\n"


def test_no_edits_and_no_python() -> None:
    assert apply_edits("this is no python", []) == "this is no python"
    with pytest.raises(SyntaxError):
        apply_edits("this is no python", [edit("", "this", "that")])


@pytest.mark.parametrize("times", [1, 2])
def test_a_replacement_that_holds_its_own_text_is_not_applied_again(times: int) -> None:
    """Upstream took the fix over: the text to replace is still there, inside of the replacement."""
    wanted = edit("f", "x = g()\n", "x = g()\n    x = h(x)\n" if times == 1 else "x = g()\n    x = h(x)\n    x = g()\n")
    once = apply_edits("def f():\n    x = g()\n    return x\n", [wanted])
    with pytest.raises(EditMiss):
        apply_edits(once, [wanted])
