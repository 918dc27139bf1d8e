"""Child processes: multiprocessing's spawn and forkserver, subprocesses of `sam3port run`, activated environments."""

from __future__ import annotations

import pytest

from tests.patching.lab import Lab, ended_well, write

WORKER = """
import multiprocessing as mp


def work(value):
    from sam3.model.box import area

    return area(value, 3)


def report(queue):
    import sam3, sys
    from sam3.model.box import Box

    queue.put((sam3.VERSION, Box(2, 3).area(), sys.modules["sam3"].__file__))
"""

SCRIPT = f"""
import sam3port
{WORKER}

if __name__ == "__main__":
    handle = sam3port.install()
    from sam3.model import box

    context = mp.get_context(METHOD)
    with context.Pool(2) as pool:
        assert pool.map(work, [1, 2]) == [6, 12]
        # Functions and objects of sam3 itself, pickled by name.
        assert pool.starmap(box.area, [(2, 3)]) == [12]
        assert pool.map(box.Box.area, [box.Box(1, 1)]) == [2]
    queue = context.Queue()
    process = context.Process(target=report, args=(queue,))
    process.start()
    version, area, file = queue.get(timeout=30)
    process.join()
    assert (version, area, process.exitcode) == ("1", 12, 0)
    print("done", file)
"""


def script(method: str) -> str:
    return SCRIPT.replace("METHOD", repr(method))


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_multiprocessing(lab: Lab, method: str) -> None:
    assert lab.output(script(method)) == f"done {lab.upstream / 'sam3/__init__.py'}"
    assert not lab.bytecode()


@pytest.mark.parametrize("where", ["beside the script", "on PYTHONPATH"])
def test_another_sam3_does_not_come_first_in_the_children(lab: Lab, where: str) -> None:
    """A script in a clone of sam3, or an installed sam3: the hook wins in the parent, so it must in the children."""
    folder = lab.folder if where == "beside the script" else lab.plugins
    write(folder, {"sam3/__init__.py": "VERSION = 'other'\n", "sam3/model/__init__.py": ""})
    assert lab.output(script("spawn")).startswith("done")


def test_the_children_get_what_was_asked_for_in_the_parent(lab: Lab) -> None:
    """Upstream and what is off are arguments of `install` here, and no variable."""
    off = lab.environment()["SAM3PORT_DISABLE"].split(",")
    code = script("spawn").replace("sam3port.install()", f"sam3port.install('checkout', disable={[*off, 'double']!r})")
    process = lab.run(code, SAM3PORT_UPSTREAM="", SAM3PORT_DISABLE="")
    assert "assert pool.map(work, [1, 2]) == [6, 12]" in process.stderr  # off in the children too
    code = code.replace("[6, 12]", "[3, 6]").replace("== [12]", "== [6]").replace("== [2]", "== [1]")
    assert lab.output(code.replace('("1", 12, 0)', '("1", 6, 0)'), SAM3PORT_UPSTREAM="").startswith("done")


def test_a_drift_shows_in_a_child_that_imports_first(lab: Lab) -> None:
    code = script("spawn").replace("    from sam3.model import box\n", "")
    lab.commit({"sam3/model/box.py": "def area(width, height):\n    return 0\n"})
    process = lab.run(code)
    assert "the patch double does not apply to sam3.model.box:area: edited" in process.stderr


def test_a_script_of_sam3port_run(lab: Lab) -> None:
    (lab.folder / "script.py").write_text(
        script("spawn").replace("handle = sam3port.install()", "").replace("import sam3port\n", "import sys\n")
        + "    assert sys.argv[1:] == ['--flag', 'x']\n"
    )
    process = lab.python("-m", "sam3port", "run", "script.py", "--flag", "x")
    assert ended_well(process) == f"done {lab.upstream / 'sam3/__init__.py'}"


@pytest.mark.parametrize("beside", [False, True], ids=["", "beside another sam3"])
def test_subprocesses_of_sam3port_run(lab: Lab, beside: bool) -> None:
    """A program that starts Python; the last two scripts lie, or stand, in a folder with a sam3 of its own."""
    child = "from sam3.model.box import area\nprint(area(2, 3))\n"
    write(lab.folder / "tools", {"child.py": child} | ({"sam3/__init__.py": "VERSION = 'other'\n"} if beside else {}))
    if beside:
        write(lab.folder, {"sam3/__init__.py": "VERSION = 'other'\n"})
    (lab.folder / "script.py").write_text(
        "import subprocess, sys\n"
        "options = {'check': True, 'capture_output': True, 'text': True}\n"
        f"for arguments in (['-c', {child!r}], ['tools/child.py'], ['-m', 'tools.child']):\n"
        "    print(subprocess.run([sys.executable, *arguments], **options).stdout.strip())\n"
    )
    assert ended_well(lab.python("-m", "sam3port", "run", "script.py")).split() == ["12"] * 3
    assert not lab.bytecode()


def test_run_of_a_module_that_starts_children(lab: Lab) -> None:
    write(lab.folder, {"program.py": script("spawn").replace("handle = sam3port.install()", "")})
    assert ended_well(lab.python("-m", "sam3port", "run", "-m", "program")).startswith("done")


def test_an_environments_own_sitecustomize_still_runs(lab: Lab) -> None:
    write(lab.plugins, {"sitecustomize.py": "import builtins\nbuiltins.customised = 'yes'\n"})
    (lab.folder / "script.py").write_text(
        "import subprocess, sys\n"
        "code = 'import builtins, sitecustomize; print(builtins.customised, sitecustomize.__file__)'\n"
        "print(subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout)\n"
    )
    process = lab.python("-m", "sam3port", "run", "script.py")
    assert ended_well(process) == f"yes {lab.plugins / 'sitecustomize.py'}"


def test_a_child_of_another_environment(lab: Lab) -> None:
    """It has no sam3port, and is left in peace."""
    (lab.folder / "script.py").write_text(
        "import os, subprocess, sys\n"
        "environment = dict(os.environ, PYTHONPATH=os.environ['PYTHONPATH'].split(os.pathsep)[0])\n"
        "python = [sys.executable, '-S', '-c', 'import sitecustomize; print(sitecustomize.__name__)']\n"
        "print(subprocess.run(python, env=environment, check=True, capture_output=True, text=True))\n"
    )
    shown = ended_well(lab.python("-m", "sam3port", "run", "script.py"))
    assert "stdout='sitecustomize\\n', stderr=''" in shown


def test_after_fork(lab: Lab) -> None:
    code = """
import os, sam3port
sam3port.install()
pid = os.fork()
if pid == 0:
    from sam3.model.box import area
    os._exit(area(2, 3))
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    if not hasattr(__import__("os"), "fork"):
        pytest.skip("this system has no fork")
    assert lab.output(code) == "12"


@pytest.mark.parametrize(
    "how", ["import sam3.model.box as box", "from sam3.model import box", "import sam3\nfrom sam3.model import box"]
)
def test_the_stand_in_gives_way_whole(lab: Lab, how: str) -> None:
    """The package that children find on their path is not left anywhere."""
    code = f"""
import subprocess, sys, sam3port
sam3port.install()
child = '''
import sys
{how}
import sam3
assert sam3 is sys.modules["sam3"] and sam3.model.box is box, sam3
print(box.area(2, 3), sam3.VERSION, sam3.__spec__.loader.__class__.__name__)
'''
environment = dict(__import__("os").environ, PYTHONPATH=sys.path[0] + ":" + __import__("os").environ["PYTHONPATH"])
print(subprocess.run([sys.executable, "-c", child], env=environment, check=True, capture_output=True, text=True).stdout)
"""
    assert lab.output(code) == "12 1 PatchedLoader"
