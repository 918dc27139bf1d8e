"""The verdict "reformatted": the same code in another layout, and nothing else."""

from __future__ import annotations

import ast

import pytest

from sam3port.patching.drift import Verdict
from sam3port.patching.layout import same_code
from sam3port.patching.plan import Plan
from sam3port.plugins import load_plugins
from sam3port.upstream.source import Upstream


def found(text: str, source: str) -> bool:
    ast.parse(source)
    return same_code(text, source, (0, len(source)))


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("x = f(a, b)", "x = f(\n    a,\n    b,\n)\n"),
        ("x = f(a, b)", "x=f(a,b)\n"),
        ("x = f(a, b)", "x = f(a, b)  # why\n"),
        ("x = f(a, b)  # why", "x = f(a, b)\n"),
        ("x = f(a,  # why\n      b)", "x = f(a, b)\n"),
        ("x = a + b", "x = (\n    a\n    + b\n)\n"),
        ("x = (a + b)", "x = a + b\n"),
        ("x = a + \\\n    b", "x = a + b\n"),
        ("return (a, b)", "def f():\n    return a, b\n"),
        ("for a, b in c:", "for (a, b) in c:\n    pass\n"),
        ("if not (a and b):", "if not (\n    a\n    and b\n):\n    pass\n"),
        ("assert x, 'm'", 'assert (\n    x\n), "m"\n'),
        ("x = 'it'", 'x = "it"\n'),
        ("x = R'\\d'", 'x = r"\\d"\n'),
        ('x = "a\\"b"', "x = 'a\"b'\n"),
        ("x = {'a': [1, 2]}", 'x = {\n    "a": [\n        1,\n        2,\n    ],\n}\n'),
        ("x = 0XFF + 1E5 + 10L".replace("10L", "1_0"), "x = 0xFF + 1e5 + 10\n"),
        ("x[1:2, ::3]", "x[1:2, ::3]\n"),
        ("x = lambda a: (a)", "x = lambda a: a\n"),
        ("print(* args, ** named)", "print(*args, **named)\n"),
        ("a = 1\n    b = 2\n", "if x:\n    a = 1\n\n    b = 2\n"),
        ("    a = 1\nb = 2", "if x:\n  a = 1\nb = 2\n"),
        ("), 'message'\n", 'f((\n    x\n), "message"\n)\n'),
        ("x[0].pin_memory().to(", "y = x[0].pin_memory(\n).to(device)\n"),
        ("self.a.b = c", "class C:\n    def f(self):\n        self.a.b = (\n            c\n        )\n"),
        ("x = f'{a}'", "x =  f'{a}'\n"),
        ("x = '''a\nb'''", 'x = """a\nb"""\n'),
        ("x = 'äöü'", 'x = "äöü"\n'),
        ("def f(\n    a: int = 1,\n) -> None:", "def f(a: int=1) -> None:\n    pass\n"),
        ("x = a + b\n", "x = (\n    a + b\n)  # why\n"),
        ("x = a\n", "x = a; y = b\n"),
        ("x = a\n", "x = a"),
        ("x = f(\n", "x = f(a)\n"),
        ("x = f(a,\n", "x = f(\n    a,\n    b)\n"),
        ("x = f(a)(b)[c](d)", "x = f(\n    a\n)(b)[c](d,)\n"),
    ],
)
def test_the_same_code(text: str, source: str) -> None:
    assert found(text, source)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("x = (a + b) * c", "x = a + b * c\n"),
        ("x = a + b * c", "x = (a + b) * c\n"),
        ("x = (a,)", "x = (a)\n"),
        ("x = not (a or b)", "x = not a or b\n"),
        ("x = f(a, b)", "x = f(a, c)\n"),
        ("x = f(a, b)", "x = f(b, a)\n"),
        ("x = f(a)", "x = f(a, b)\n"),
        ("x = f(a, b)", "x = f((a, b))\n"),
        ("x = 'a'", "x = b'a'\n"),
        ("x = 'a b'", "x = 'a  b'\n"),
        ("x = f'{a}'", "x = '{a}'\n"),
        ("x = 1", "y.x = 2\n"),
        ("x = a", "'x = a'\n"),
        ("x = a", "# x = a\ny = 1\n"),
        ("x = a b".replace(" b", "b"), "x = a; b\n"),
        ("x == a", "x = a\n"),
        ("x is not a", "x is a\n"),
        ("return a\n", "def f():\n    return a + b\n"),
        ("return a * b\n", "def f():\n    return (a * b * 1)\n"),
        ("x = a\n", "x = a.b\n"),
        ("x = a\n-b", "x = a - b\n"),
        ("", "x = 1\n"),
        ("# only a comment", "# only a comment\n"),
        ("x = 1.0", "x = 1\n"),
        ("x = 10", "x = 1_1\n"),
    ],
)
def test_other_code(text: str, source: str) -> None:
    assert not found(text, source)


def test_only_within_the_symbol() -> None:
    source = "def f():\n    x = (a)\n\ndef g():\n    x = b\n"
    assert same_code("x = a", source, (0, source.index("def g")))
    assert not same_code("x = a", source, (source.index("def g"), len(source)))


def test_the_whole_of_upstream_in_another_layout(upstream_source: Upstream) -> None:
    """Every module that we edit as `ast.unparse` prints it: no comments, one line a statement, other quotes.

    Every edit either still applies or is called reformatted; nobody is told that upstream had changed its code.
    """
    plan = Plan(upstream_source, tuple(load_plugins().patches().values()))
    verdicts = []
    for module in plan.edited_modules():
        source = plan.pristine(module)
        assert source is not None
        printed = ast.unparse(ast.parse(source)) + "\n"
        for patch, edit in plan.edits(module):
            drift = plan._drift_alone(module, printed, patch, edit)
            if all(line.strip().startswith("#") for line in edit.before.splitlines()):
                continue  # a comment to stand by, and `ast.unparse` drops comments
            verdicts.append(drift and drift.verdict)
            assert drift is None or drift.verdict is Verdict.REFORMATTED, f"{drift}\n{edit.before}"
    assert Verdict.REFORMATTED in verdicts
    assert None in verdicts
