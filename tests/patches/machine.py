"""Which machines an upstream failure can be shown on, and how torch words it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from typing import Final

import pytest
import torch

from sam3port.stubs import installed

needs_no_cuda: Final = pytest.mark.skipif(
    torch.cuda.is_available(), reason="upstream fails without the patch only on a machine without CUDA"
)
needs_no_triton: Final = pytest.mark.skipif(
    installed("triton"), reason="upstream fails without the patch only where triton is not installed"
)
needs_no_decord: Final = pytest.mark.skipif(
    installed("decord"), reason="upstream fails without the patch only where decord is not installed"
)

NO_CUDA: Final = re.compile("Torch not compiled with CUDA enabled|Found no NVIDIA driver")
"""How a torch without CUDA, or without a GPU, refuses to make a CUDA tensor."""


def assert_fails(run: subprocess.CompletedProcess[str], where: str, message: str | re.Pattern[str]) -> None:
    """The process died of an error raised by way of upstream's file ``where``, whose last line has ``message``."""
    assert run.returncode == 1, run.stdout + run.stderr
    assert where in run.stderr, run.stderr
    last = run.stderr.strip().splitlines()[-1]
    assert re.search(message, last), run.stderr


def assert_passes(run: subprocess.CompletedProcess[str]) -> None:
    assert run.returncode == 0, run.stdout + run.stderr


def failures(places: Iterable[tuple[str, str]]) -> str:
    """Code that runs code and prints "file: error: message" for each (file, code) in ``places``.

    "not file" is printed instead when no upstream file of that name is in the traceback.
    """
    return f"""
import traceback
for where, code in {list(places)!r}:
    try:
        exec(code, {{}})
    except Exception as error:
        files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
        seen = where if any(f"/{{where}}" in file.replace(chr(92), "/") for file in files) else f"not {{where}}"
        print(f"{{seen}}: {{type(error).__name__}}: {{str(error).partition(chr(10))[0]}}")
    else:
        print(f"{{where}}: no failure")
"""
