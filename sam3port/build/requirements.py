"""What a machine that runs an artifact needs."""

from __future__ import annotations

import importlib.metadata
from typing import Final

import sam3port

TVM: Final = ("apache-tvm", "apache-tvm-ffi")
"""The distributions whose code the library calls: those that it was built with run it."""


def requirements() -> str:
    """The text of ``requirements.txt``: this sam3port, whose metadata says what else it needs, and this TVM."""
    lines = (
        "# What runs this artifact: pip install -r requirements.txt",
        "# No package index has sam3port yet: install it first, from a checkout (pip install CHECKOUT) or a wheel,",
        "# or make wheels of it and of all that it needs (pip wheel -w wheels CHECKOUT) and add: --find-links wheels",
        f"sam3port=={sam3port.__version__}",
        *(f"{name}=={importlib.metadata.version(name)}" for name in TVM),
    )
    return "\n".join(lines) + "\n"
