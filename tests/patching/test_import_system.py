"""What else goes through Python's import system: it has to go on working, with the patched modules in it."""

from __future__ import annotations

import pytest

from tests.patching.lab import Lab, write

INSTALL = "import sam3port; handle = sam3port.install()\n"


@pytest.mark.parametrize("name", ["sam3x", "sam3_plus", "sam3port_tools", "sam", "xsam3"])
def test_names_that_look_alike_are_left_alone(lab: Lab, name: str) -> None:
    """Also where upstream's folder has something of that name."""
    for folder in (lab.folder, lab.upstream):
        write(folder, {f"{name}/__init__.py": "", f"{name}/model.py": "LOADER = __spec__.loader.__class__.__name__\n"})
    shown = lab.output(f"{INSTALL}import {name}.model as m; print(m.LOADER, m.__file__)")
    assert shown == f"SourceFileLoader {lab.folder / name / 'model.py'}"


def test_sam3_elsewhere_in_a_package_is_left_alone(lab: Lab) -> None:
    write(lab.folder, {"mine/__init__.py": "", "mine/sam3/__init__.py": "", "mine/sam3/model.py": "X = 'mine'\n"})
    assert lab.output(f"{INSTALL}from mine.sam3.model import X; print(X)") == "mine"


def test_the_hook_wins_over_a_sam3_on_the_path(lab: Lab) -> None:
    """A script that lies in another checkout, or an installed sam3."""
    write(lab.folder, {"sam3/__init__.py": "VERSION = 'other'\n", "sam3/model.py": ""})
    assert lab.output(f"{INSTALL}import sam3; print(sam3.VERSION)") == "1"


def test_a_module_that_is_not_there(lab: Lab) -> None:
    code = f"{INSTALL}import importlib.util\nprint(importlib.util.find_spec('sam3.model.none'))\nimport sam3.model.none"
    process = lab.run(code)
    assert process.stdout.strip() == "None"
    assert process.stderr.strip().split("\n")[-1] == "ModuleNotFoundError: No module named 'sam3.model.none'"


def test_pickle_round_trip_of_a_patched_class(lab: Lab) -> None:
    code = f"""{INSTALL}
import copy, pickle
from sam3.model.box import Box, area
for back in (pickle.loads(pickle.dumps(Box(2, 3))), copy.deepcopy(Box(2, 3)), copy.copy(Box(2, 3))):
    assert type(back) is Box and back.area() == 12
assert pickle.loads(pickle.dumps(area)) is area
"""
    lab.output(code)


def test_a_pickle_of_a_patched_class_opens_in_a_fresh_interpreter(lab: Lab) -> None:
    lab.output(f"{INSTALL}import pickle; from sam3.model.box import Box\npickle.dump(Box(2, 3), open('box', 'wb'))")
    assert lab.output(f"{INSTALL}import pickle; print(pickle.load(open('box', 'rb')).area())") == "12"


def test_reload_gives_the_patched_text_again(lab: Lab) -> None:
    code = f"""{INSTALL}
import importlib
from sam3.model import box
box.area = None
again = importlib.reload(box)
assert again is box
print(box.area(2, 3), handle.executed["sam3.model.box"])
"""
    assert lab.output(code) == "12 ('double',)"


def test_a_fresh_import_after_the_module_was_dropped(lab: Lab) -> None:
    code = f"""{INSTALL}
import sys
from sam3.model.box import area as first
del sys.modules["sam3.model.box"]
from sam3.model.box import area as second
print(first is second, second(2, 3))
"""
    assert lab.output(code) == "False 12"


def test_namespace_package(lab: Lab) -> None:
    code = f"""{INSTALL}
import sam3.perflib.triton as namespace
from sam3.perflib.triton.kernel import kernel
print(kernel(), namespace.__file__, list(namespace.__path__))
"""
    assert lab.output(code) == f"patched None [{str(lab.upstream / 'sam3/perflib/triton')!r}]"


def test_walk_packages(lab: Lab) -> None:
    code = f"{INSTALL}import pkgutil, sam3\nprint(*[m.name for m in pkgutil.walk_packages(sam3.__path__, 'sam3.')])"
    assert lab.output(code).split() == [
        "sam3.model",
        "sam3.model.box",
        "sam3.model.plain",
        "sam3.perflib",
        "sam3.perflib.lazy",
    ]


@pytest.mark.parametrize(
    ("package", "name", "start"),
    [
        ("sam3.model", "names.txt", "a\nb"),
        ("sam3.model", "box.py", '"""Boxes."""'),
        ("sam3.perflib.triton", "readme.txt", "kernels"),
    ],
)
def test_importlib_resources(lab: Lab, package: str, name: str, start: str) -> None:
    code = (
        f"{INSTALL}from importlib import resources\nprint(resources.files('{package}').joinpath('{name}').read_text())"
    )
    assert lab.output(code).startswith(start)


def test_pkgutil_get_data(lab: Lab) -> None:
    assert lab.output(f"{INSTALL}import pkgutil; print(pkgutil.get_data('sam3.model', 'names.txt'))") == repr(b"a\nb\n")


def test_what_a_module_says_about_itself(lab: Lab) -> None:
    code = f"""{INSTALL}
import sam3.model.box as box, sam3.model as package
print(box.__name__, box.__package__, box.__spec__.origin == box.__file__, hasattr(box, "__path__"))
print(package.__package__, package.__path__ == [package.__file__.removesuffix("/__init__.py")])
"""
    assert lab.output(code) == "sam3.model.box sam3.model True False\nsam3.model True"


def test_relative_imports_and_a_module_that_fails(lab: Lab) -> None:
    """A module that fails is not left behind half made, and can be imported again."""
    lab.commit({"sam3/model/late.py": "import builtins\nfrom .box import area\n\nbuiltins.ready\nX = area(1, 2)\n"})
    code = f"""{INSTALL}
import builtins, sys
try:
    import sam3.model.late
except AttributeError:
    print("sam3.model.late" in sys.modules, "sam3.model.late" in handle.executed)
builtins.ready = True
import sam3.model.late
print(sam3.model.late.X)
"""
    assert lab.output(code) == "False False\n4"


def test_threads_that_import_at_once(lab: Lab) -> None:
    slow = "import time\ntime.sleep(0.05)\n"
    lab.commit({"sam3/__init__.py": f'{slow}VERSION = "1"\n', "sam3/model/__init__.py": slow})
    code = f"""{INSTALL}
import importlib, threading
names = ["sam3.model.box", "sam3", "sam3.perflib.lazy", "sam3.model.plain", "sam3.perflib.triton.kernel"] * 4
found, start = {{}}, threading.Barrier(len(names))
def load(number, name):
    start.wait()
    found[number] = importlib.import_module(name)
threads = [threading.Thread(target=load, args=item) for item in enumerate(names)]
[t.start() for t in threads]; [t.join() for t in threads]
assert len(found) == len(names)
assert len({{id(module) for module in found.values()}}) == 5
from sam3.model.box import area
print(area(2, 3), found[4].kernel())
"""
    assert lab.output(code) == "12 patched"


def test_modules_that_import_each_other(lab: Lab) -> None:
    lab.commit(
        {
            "sam3/model/box.py": "from sam3.model import round as r\n"
            + (lab.upstream / "sam3/model/box.py").read_text(),
            "sam3/model/round.py": "from sam3.model import box\n\n\ndef disc(x):\n    return box.area(x, x)\n",
        }
    )
    assert lab.output(f"{INSTALL}from sam3.model.round import disc; print(disc(3))") == "18"


def test_prepare_runs_once_before_upstreams_first_line(lab: Lab) -> None:
    lab.commit({"sam3/__init__.py": "import builtins\nprint('upstream', builtins.prepared)\n"})
    plugin = lab.plugins / "demo_plugin.py"
    source = plugin.read_text().replace(
        "    return [\n",
        "    import builtins\n\n"
        "    def prepare():\n"
        "        print('prepare')\n"
        "        builtins.prepared = getattr(builtins, 'prepared', 0) + 1\n\n"
        "    return [\n        patch('ready', prepare=prepare),\n",
    )
    plugin.write_text(source)
    code = f"{INSTALL}print('installed')\nfrom sam3.model import box\nimport sam3.perflib.lazy\nprint(handle.prepared)"
    assert lab.output(code).split("\n") == ["installed", "prepare", "upstream 1", "{'ready': None}"]
    assert "AttributeError" in lab.run(code, SAM3PORT_DISABLE="ready").stderr


def test_source_with_a_coding_line_a_mark_and_crlf(lab: Lab) -> None:
    box = (lab.upstream / "sam3/model/box.py").read_text()
    for data in (
        b"\xef\xbb\xbf" + box.encode(),
        b"# coding: latin-1\n" + box.replace("of any unit", "süß").encode("latin-1"),
        box.replace("\n", "\r\n").encode(),
        box.replace("\n", "\r").encode(),
    ):
        lab.commit({"sam3/model/box.py": data})
        assert lab.output(f"{INSTALL}from sam3.model.box import area; print(area(2, 3))") == "12"


def test_the_name_of_a_folder_with_odd_characters(lab: Lab) -> None:
    odd = lab.folder / "my check-out <ä> 中"
    lab.upstream.rename(odd)
    lab.upstream = odd
    code = f"{INSTALL}import inspect\nfrom sam3.model.box import area\n"
    code += "print(area(2, 3), inspect.getsource(area).count('PATCHED'))"
    assert lab.output(code) == "12 1"
