"""Nobody registers a component without a parity test."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from sam3port.plugins import load_plugins
from tests.build import plugin
from tests.conftest import clean_environment

ROOT = Path(__file__).resolve().parents[2]
FILE = "tests/verify/test_tiny.py"
TEST = "test_component_is_what_upstream_computes"


def collected(**environment: str) -> set[str]:
    """The components that the suite has a parity test for, as pytest finds them."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", FILE],
        cwd=ROOT,
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return set(re.findall(rf"^{re.escape(FILE)}::{TEST}\[(\w+)\]$", done.stdout, flags=re.MULTILINE))


def without_parity_test(components: Iterable[str], tested: set[str]) -> list[str]:
    return sorted(set(components) - tested)


def test_every_registered_component_has_a_parity_test() -> None:
    components = load_plugins().components()
    assert len(components) >= 11
    assert not without_parity_test(components, collected())


def test_a_component_that_is_registered_later_has_one_too(tmp_path: Path) -> None:
    """In an environment with a third party's component; and here, where it is not, it would be missed."""
    tested = collected(**plugin.install(tmp_path / "distribution"))
    assert tested == {*load_plugins().components(), "rows"}
    assert without_parity_test(tested, collected()) == ["rows"]
