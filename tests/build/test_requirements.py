"""requirements.txt of an artifact: this sam3port, which asks for the rest, and this TVM."""

from __future__ import annotations

from importlib.metadata import version

import sam3port
from sam3port.build.requirements import requirements


def test_they_name_what_the_library_was_built_with() -> None:
    lines = [line for line in requirements().splitlines() if not line.startswith("#")]
    tvm = [f"{name}=={version(name)}" for name in ("apache-tvm", "apache-tvm-ffi")]
    assert lines == [f"sam3port=={sam3port.__version__}", *tvm]
