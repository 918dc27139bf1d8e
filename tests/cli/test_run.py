"""`sam3port run`: a program's own `import sam3` is patched, its own arguments and status are its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Program
from tests.conftest import clean_environment


def script(folder: Path, text: str, name: str = "program.py") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return name


def test_a_script_gets_its_arguments_and_the_patched_upstream(sam3port: Program, tmp_path: Path) -> None:
    name = script(
        tmp_path,
        "import sys, sam3.model.edt as e\n"
        "print(__name__, sys.argv, sys.path[0] == __import__('os').path.dirname(__file__), e.triton)\n",
    )
    done = sam3port("run", name, "--photo", "a.jpg", "-m", "--debug")
    assert done.returncode == 0, done.stderr
    assert f"__main__ ['{tmp_path / name}', '--photo', 'a.jpg', '-m', '--debug'] True" in done.stdout
    assert "triton is not installed" in done.stdout


def test_a_module_runs_as_with_python_m(sam3port: Program, tmp_path: Path) -> None:
    script(tmp_path, "import sys, sam3.model.edt\nprint(__name__, sys.argv[1:])\n", "tool.py")
    done = sam3port("run", "-m", "tool", "x", "--y")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "__main__ ['x', '--y']"


def test_the_programs_own_failure_is_its_own(sam3port: Program, tmp_path: Path) -> None:
    assert sam3port("run", script(tmp_path, "import sys; sys.exit(7)\n")).returncode == 7
    failed = sam3port("run", script(tmp_path, "raise ValueError('mine')\n", "bad.py"))
    assert failed.returncode == 1
    assert "ValueError: mine" in failed.stderr
    assert "bad.py" in failed.stderr


def test_disable_holds_for_the_program_and_its_children(sam3port: Program, tmp_path: Path) -> None:
    name = script(
        tmp_path,
        "import subprocess, sys\n"
        "code = 'import sam3port.patching.install as i, sam3.model.box_ops; print(sorted(i.current().plan.disabled))'\n"
        "exec(code)\n"
        "print(subprocess.run([sys.executable, '-c', code.replace('import ', 'import sam3, ', 1)],"
        " capture_output=True, text=True).stdout.strip())\n",
    )
    done = sam3port("run", "--disable", "float_rope", name)
    assert done.stdout.split("\n")[:2] == ["['float_rope']", "['float_rope']"], done.stderr


@pytest.mark.parametrize("how", ["program", "module"])
@pytest.mark.parametrize("safe", [{}, {"PYTHONSAFEPATH": "1"}], ids=["", "safe path"])
def test_the_path_is_that_of_plain_python(tmp_path: Path, upstream_root: Path, how: str, safe: dict[str, str]) -> None:
    """But for our own folder: neither that of the program `sam3port` nor, with `python -m`, the working folder."""
    name = script(tmp_path, "import json, sys\nprint(json.dumps(sys.path))\n")
    here = tmp_path / "here"
    here.mkdir()
    programs = Path(sys.executable).parent / "sam3port"
    ours = [str(programs)] if how == "program" else [sys.executable, "-m", "sam3port"]
    paths = []
    for command in ([sys.executable], [*ours, "run", "--upstream", str(upstream_root)]):
        environment = clean_environment(**safe)
        done = subprocess.run([*command, tmp_path / name], cwd=here, env=environment, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr
        paths.append(json.loads(done.stdout))
    assert [entry for entry in paths[1] if Path(entry).name != "children"] == paths[0]


def test_wrong_use(sam3port: Program) -> None:
    nothing = sam3port("run")
    assert nothing.returncode == 2
    absent = sam3port("run", "no_such_script.py")
    assert absent.returncode == 2
    assert "no_such_script.py" in absent.stderr
    assert "Traceback" not in absent.stderr
