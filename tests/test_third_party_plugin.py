"""A patch in a distribution of its own: built as a wheel, installed by pip, found by its entry point."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import clean_environment
from tests.patching.lab import write

PROJECT = {
    "pyproject.toml": """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "sam3port-greeting"
version = "1.2.3"
description = "A patch of somebody else's."

[project.entry-points.sam3port]
greeting_plugin = "sam3port_greeting.patches"

[tool.setuptools]
packages = ["sam3port_greeting"]
""",
    "sam3port_greeting/__init__.py": "",
    "sam3port_greeting/patches.py": '''
"""Upstream says who it is."""

from sam3port.hookspecs import hookimpl
from sam3port.patching import Edit, Kind, Patch

PATCH = Patch(
    name="greeting",
    kind=Kind.FIX,
    summary="upstream says who patched it",
    reason="nobody would know",
    upstream="sam3/__init__.py:5",
    retire_when="somebody knows",
    edits=(
        Edit(
            module="sam3",
            symbol="",
            before='__version__ = "0.1.0"',
            after='__version__ = "0.1.0+greeting"',
        ),
    ),
)


@hookimpl
def sam3port_patches():
    return [PATCH]
''',
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that pip installed the distribution into; on PYTHONPATH it is part of an environment."""
    project = write(tmp_path_factory.mktemp("project"), PROJECT)
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command = [*pip, "--no-build-isolation", "--target", str(target), str(project)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (target / "sam3port_greeting-1.2.3.dist-info" / "METADATA").is_file()
    return target


def python(installed: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=installed,
        env=clean_environment(PYTHONPATH=str(installed), COLUMNS="200", **environment),
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_it_is_a_real_distribution(installed: Path) -> None:
    code = "from importlib.metadata import version; print(version('sam3port-greeting'))"
    assert python(installed, "-c", code).stdout.strip() == "1.2.3"


def test_it_is_listed_with_where_it_comes_from(installed: Path) -> None:
    rows = python(installed, "-m", "sam3port", "patches").stdout.splitlines()
    (row,) = [row for row in rows if " greeting " in row]
    for word in ("fix", "on", "greeting_plugin", "upstream says who patched it"):
        assert f" {word} " in row


def test_it_is_explained(installed: Path) -> None:
    shown = python(installed, "-m", "sam3port", "patches", "greeting").stdout
    for text in ("from greeting_plugin", "nobody would know", "somebody knows", "sam3:(module level)"):
        assert text in shown


def test_its_diff_is_shown(installed: Path) -> None:
    shown = python(installed, "-m", "sam3port", "apply-patches", "--diff", "greeting").stdout
    assert '-__version__ = "0.1.0"\n+__version__ = "0.1.0+greeting"\n' in shown


def apply_patches(installed: Path, *arguments: str, **environment: str) -> dict[str, dict[str, Any]]:
    process = python(installed, "-m", "sam3port", "apply-patches", "--json", *arguments, **environment)
    assert process.returncode == 0, process.stderr
    return {patch["name"]: patch for patch in json.loads(process.stdout)["patches"]}


def test_it_is_applied_by_the_real_import(installed: Path) -> None:
    found = apply_patches(installed)
    assert found["greeting"] == {
        "name": "greeting",
        "kind": "fix",
        "state": "applied",
        "modules": ["sam3"],
        "edits": 1,
        "reason": "upstream says who patched it",
    }
    assert {patch["state"] for patch in found.values()} <= {"applied", "not needed here"}


def state(installed: Path, *arguments: str, **environment: str) -> str | None:
    """The state of the patch in the list of `sam3port patches`, None when it is not listed."""
    process = python(installed, "-m", "sam3port", "patches", *arguments, **environment)
    assert process.returncode == 0, process.stderr
    rows = [row.split() for row in process.stdout.splitlines() if " greeting " in row]
    return rows[0][rows[0].index("fix") + 2] if rows else None


def test_it_is_switched_off_by_its_own_name(installed: Path) -> None:
    """Still listed; and upstream says what it says."""
    assert state(installed) == "on"
    assert state(installed, "--disable", "greeting") == "off"
    assert state(installed, SAM3PORT_DISABLE="greeting") == "off"
    code = (
        "import sam3port; h = sam3port.install(disable=[{!r}]); print(h.plan.patched('sam3', h.plan.pristine('sam3')))"
    )
    assert '"0.1.0"' in python(installed, "-c", code.format("greeting")).stdout
    assert '"0.1.0+greeting"' in python(installed, "-c", code.format("pin_memory")).stdout


def test_it_is_switched_off_by_the_name_of_its_plugin(installed: Path) -> None:
    """The plugin is not even loaded, so its patches are not known."""
    assert state(installed, "--disable", "greeting_plugin") is None
    assert state(installed, SAM3PORT_DISABLE="greeting_plugin") is None
    process = python(installed, "-m", "sam3port", "patches", "--disable", "greeting_plugin,greeting")
    assert process.returncode == 2


def test_its_state_is_off_in_the_real_import(installed: Path) -> None:
    assert apply_patches(installed, "--disable", "greeting")["greeting"]["state"] == "off"


def test_without_the_distribution_it_is_gone(tmp_path: Path) -> None:
    assert "greeting" not in python(tmp_path, "-m", "sam3port", "patches").stdout
