"""What inspect, tracebacks and debuggers show of a patched module: the text that runs."""

from __future__ import annotations

import sys

import pytest

from tests.patching.lab import Lab, ended_well

INSTALLED = "import sam3port; sam3port.install()\nimport inspect, linecache\nfrom sam3.model import box\n"


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("box.area", "# PATCHED"),
        ("box.Box", '"""A patched box."""'),
        ("box.Box.area", "return area(self.width, self.height)"),
        ("box.Box(1, 2).area", "return area(self.width, self.height)"),
        ("box.halve", "return value // 2"),
        ("box", "# PATCHED"),
    ],
)
def test_getsource(lab: Lab, what: str, line: str) -> None:
    source = lab.output(f"{INSTALLED}print(inspect.getsource({what}))")
    assert line in source
    if what != "box":
        # Exactly this definition: with the line numbers of the file on disk it would be cut out of its place.
        assert source.count("def ") == {"box.Box": 2}.get(what, 1)
        assert source.split("\n")[0].strip().startswith(("def ", "class "))


@pytest.mark.parametrize("forget", ["linecache.checkcache()", "linecache.clearcache()"])
def test_getsource_of_a_function_survives_what_tools_do_to_linecache(lab: Lab, forget: str) -> None:
    assert "# PATCHED" in lab.output(f"{INSTALLED}{forget}\nprint(inspect.getsource(box.area))")


def test_getsource_of_a_class_survives_checkcache(lab: Lab) -> None:
    code = f"{INSTALLED}linecache.checkcache()\nprint(inspect.getsource(box.Box))"
    assert "A patched box." in lab.output(code)


def test_an_unpatched_module_keeps_its_own_file_name(lab: Lab) -> None:
    shown = lab.output(f"{INSTALLED}from sam3.model.plain import plain\nprint(plain.__code__.co_filename)")
    assert shown == str(lab.upstream / "sam3/model/plain.py")


def test_the_file_name_says_which_patches(lab: Lab) -> None:
    shown = lab.output(f"{INSTALLED}print(box.area.__code__.co_filename, box.__file__, sep='\\n')").split("\n")
    assert shown == [f"{lab.upstream}/sam3/model/box.py <sam3port: double>", f"{lab.upstream}/sam3/model/box.py"]


def test_the_traceback_module_shows_the_right_line(lab: Lab) -> None:
    code = f"{INSTALLED}import traceback\ntry:\n    box.halve(3)\nexcept ValueError:\n    print(traceback.format_exc())"
    lines = lab.output(code).split("\n")
    at = next(i for i, line in enumerate(lines) if "in halve" in line)
    assert "<sam3port: double>" in lines[at]
    assert lines[at + 1].strip() == 'raise ValueError("odd")'


def test_an_uncaught_exception_shows_no_wrong_line(lab: Lab) -> None:
    """Before Python 3.13 the interpreter prints it without linecache: then no line at all, never a wrong one."""
    process = lab.run(f"{INSTALLED}box.halve(3)")
    lines = process.stderr.strip().split("\n")
    assert lines[-1] == "ValueError: odd"
    at = next(i for i, line in enumerate(lines) if "in halve" in line)
    assert "<sam3port: double>" in lines[at]
    shown = [line.strip() for line in lines[at + 1 : -1]]
    assert shown in (['raise ValueError("odd")'], []) or sys.version_info >= (3, 13)
    assert not shown or shown[0] == 'raise ValueError("odd")'


def test_the_number_of_the_line_is_that_of_the_patched_text(lab: Lab) -> None:
    numbers = lab.output(f"{INSTALLED}print(box.halve.__code__.co_firstlineno, inspect.getsourcelines(box.halve)[1])")
    on_disk = (lab.upstream / "sam3/model/box.py").read_text().split("\n").index("def halve(value):") + 1
    assert numbers == f"{on_disk + 2} {on_disk + 2}"


@pytest.mark.parametrize("odd", ["\x0c", "\x1c", "\x85", "\u2028"])
def test_lines_are_counted_as_python_counts_them(lab: Lab, odd: str) -> None:
    """Form feeds and other characters end a line for str.splitlines, and for nobody else."""
    box = (lab.upstream / "sam3/model/box.py").read_text()
    lab.commit({"sam3/model/box.py": f"PAGES = '''{odd}{odd}\n{odd}'''\n\n{box}"})
    source = lab.output(f"{INSTALLED}print(inspect.getsource(box.halve))", PYTHONIOENCODING="utf-8")
    assert source.startswith("def halve(value):")
    assert source.endswith("return value // 2")


def test_a_syntax_error_in_a_replacement_names_the_patch(lab: Lab) -> None:
    plugin = lab.plugins / "demo_plugin.py"
    plugin.write_text(plugin.read_text().replace("doubled = 2 * width", "doubled = 2 *"))
    process = lab.run(INSTALLED)
    assert "SyntaxError" in process.stderr
    assert "box.py <sam3port: double>" in process.stderr


def test_two_modules_of_one_name_show_their_own_text(lab: Lab) -> None:
    """The stand-in text of a patched module must not leak into another file's."""
    code = f"{INSTALLED}from sam3.model import plain\nprint(inspect.getsource(plain))"
    assert lab.output(code) == "def plain():\n    return 1"


def test_a_module_run_as_a_program(lab: Lab) -> None:
    lab.commit({"sam3/model/box.py": (lab.upstream / "sam3/model/box.py").read_text() + "\n\nprint(area(2, 3))\n"})
    assert ended_well(lab.python("-m", "sam3port", "run", "-m", "sam3.model.box")) == "12"
