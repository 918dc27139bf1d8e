"""A tiny upstream and tiny plugins, made by the test: what the machinery does to them shows in milliseconds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from sam3port.plugins import load_plugins
from tests.conftest import clean_environment
from tests.upstream.conftest import commit_all

BOX = '''\
"""Boxes."""


def area(width, height):
    """The area of a box."""
    # of any unit
    return width * height


def halve(value):
    if value % 2:
        raise ValueError("odd")
    return value // 2


class Box:
    """A box."""

    def __init__(self, width, height):
        self.width, self.height = width, height

    def area(self):
        return area(self.width, self.height)
'''

TREE = {
    "sam3/__init__.py": 'VERSION = "1"\n',
    "sam3/model/__init__.py": "",
    "sam3/model/box.py": BOX,
    "sam3/model/plain.py": "def plain():\n    return 1\n",
    "sam3/model/names.txt": "a\nb\n",
    # A namespace package, as upstream's sam3/perflib/triton.
    "sam3/perflib/__init__.py": "",
    "sam3/perflib/triton/kernel.py": "def kernel():\n    return 'upstream'\n",
    "sam3/perflib/triton/readme.txt": "kernels\n",
    "sam3/perflib/lazy.py": "def run():\n    from sam3.perflib.triton.kernel import kernel\n\n    return kernel()\n",
}

# `area` grows by two lines, so that every line below it has another number in the file than in what runs.
PLUGIN = '''
from sam3port.hookspecs import hookimpl
from sam3port.patching import Edit, Kind, Patch


def patch(name, *edits, **other):
    texts = ("does " + name, "because", "nowhere", "never")
    return Patch(name, Kind.FIX, *texts, edits=tuple(Edit(*edit) for edit in edits), **other)


@hookimpl
def sam3port_patches():
    return [
        patch(
            "double",
            (
                "sam3.model.box",
                "area",
                "    return width * height\\n",
                "    doubled = 2 * width\\n    # PATCHED\\n    return doubled * height\\n",
            ),
            ("sam3.model.box", "Box", '"""A box."""', '"""A patched box."""'),
        ),
        patch("kernel", ("sam3.perflib.triton.kernel", "kernel", "'upstream'", "'patched'")),
    ]
'''


def write(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def distribution(folder: Path, name: str, source: str, entry: str | None = None) -> Path:
    """Puts an installed distribution into ``folder``: a module and the metadata that pip would write."""
    entry = entry or name
    return write(
        folder,
        {
            f"{name}.py": dedent(source),
            f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
            f"{name}-1.0.dist-info/entry_points.txt": f"[sam3port]\n{entry} = {name}\n",
        },
    )


def built_in_patches() -> tuple[str, ...]:
    """The names of our own patches, which know nothing of the tiny upstream."""
    return tuple(load_plugins().patches())


@dataclass
class Lab:
    """A checkout of the tiny upstream at a commit of its own, and the plugin that patches it."""

    folder: Path
    upstream: Path
    plugins: Path

    def environment(self, **changes: str) -> dict[str, str]:
        """The lab's settings for a child process. A variable that is "" is left out."""
        settings = {
            "SAM3PORT_UPSTREAM": str(self.upstream),
            "SAM3PORT_DISABLE": ",".join(built_in_patches()),
            "PYTHONPATH": str(self.plugins),
        }
        if "SAM3PORT_DISABLE" in changes:
            changes["SAM3PORT_DISABLE"] = ",".join((settings["SAM3PORT_DISABLE"], changes["SAM3PORT_DISABLE"]))
        return {name: value for name, value in clean_environment(**settings | changes).items() if value}

    def run(self, code: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs ``code`` as a script in the lab's folder."""
        script = self.folder / "script.py"
        script.write_text(dedent(code), encoding="utf-8")
        return self.python(*options, str(script), **environment)

    def python(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment(**environment),
            capture_output=True,
            text=True,
            timeout=60,
        )

    def output(self, code: str, **environment: str) -> str:
        """What ``code`` prints; it has to end well."""
        return ended_well(self.run(code, **environment))

    def commit(self, files: Mapping[str, str | bytes] = {}) -> None:
        """Changes upstream: a new commit of the user's checkout."""
        write(self.upstream, files)
        commit_all(self.upstream)

    def bytecode(self) -> list[str]:
        return sorted(str(file.relative_to(self.upstream)) for file in self.upstream.rglob("*.pyc"))


def ended_well(process: subprocess.CompletedProcess[str]) -> str:
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout.strip()


def make_lab(folder: Path) -> Lab:
    lab = Lab(folder, folder / "checkout", folder / "plugins")
    lab.commit(TREE)
    distribution(lab.plugins, "demo_plugin", PLUGIN, entry="demo")
    return lab
