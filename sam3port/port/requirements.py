"""What a machine that runs an artifact needs."""

from __future__ import annotations

from typing import Final

import sam3port

RUNTIME: Final = (
    "apache-tvm>=0.27,<0.28",
    "apache-tvm-ffi>=0.1.14,<0.1.15",
    "click>=8.1,<9",
    "filelock>=3.15,<5",
    "ftfy>=6.1.1,<7",
    "numpy>=1.26,<3",
    "packaging>=24",
    "pillow>=10.3",
    "platformdirs>=4.2,<5",
    "pluggy>=1.5,<2",
    "psutil>=5.9,<8",
    "pycocotools>=2.0.10,<3",
    "regex>=2024.5.15",
    "rich>=13.7,<16",
    "tokenizers>=0.21,<0.24",
)
"""Of sam3port's own requirements (pyproject.toml), those of `sam3port.runtime` and of the command line; no torch."""


def requirements() -> str:
    """The text of ``requirements.txt``."""
    lines = (
        f"# pip install -r requirements.txt, then: pip install --no-deps sam3port=={sam3port.__version__}",
        *RUNTIME,
    )
    return "\n".join(lines) + "\n"
