"""NVIDIA's compiler."""

from __future__ import annotations

import functools
import subprocess
import tempfile
from pathlib import Path

from sam3port.errors import Sam3PortError

_QUIET = ("177", "1046")
"""Warnings about variables that are not used and constants that float cannot hold exactly: generated code has many."""


@functools.cache
def version() -> str:
    """The last line of ``nvcc --version``, empty where there is no nvcc."""
    return (_said("--version").splitlines() or [""])[-1]


@functools.cache
def architectures() -> tuple[str, ...]:
    """The architectures that it compiles for: ``sm_80``, ...; variants such as ``sm_90a`` are not listed."""
    return tuple(_said("--list-gpu-code").split())


def _said(option: str) -> str:
    try:
        done = subprocess.run(["nvcc", option], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return ""
    return "\n".join(line for line in done.stdout.strip().splitlines() if line.startswith(("sm_", "Build", "Cuda")))


def compile_fatbin(source: str, arch: str) -> bytes:
    """CUDA C to machine code for ``arch`` and, unless that is a variant for one GPU alone, PTX for later GPUs.

    IEEE arithmetic throughout, other than TVM's own call of nvcc, which passes ``--use_fast_math``: that would replace
    division, square root and exp by approximations, and flush small numbers to 0.

    Raises:
        Sam3PortError: nvcc refuses it.
    """
    virtual = arch.replace("sm_", "compute_")
    codes = [arch] if arch[-1] in "af" else [arch, virtual]
    with tempfile.TemporaryDirectory(prefix="sam3port-nvcc-") as folder:
        written, made = Path(folder, "kernels.cu"), Path(folder, "kernels.fatbin")
        written.write_text(source, encoding="utf-8")
        command = ["nvcc", "--fatbin", "-O3", "-std=c++17", f"-diag-suppress={','.join(_QUIET)}"]
        for code in codes:
            command += ["-gencode", f"arch={virtual},code={code}"]
        done = subprocess.run([*command, "-o", str(made), str(written)], capture_output=True, text=True)
        if done.returncode != 0:
            errors = [line for line in done.stderr.splitlines() if "error" in line] or [f"status {done.returncode}"]
            raise Sam3PortError(f"nvcc refuses the kernels: {errors[0].replace(str(written), 'kernels.cu')}")
        return made.read_bytes()
