"""Python on CPUs that this machine does not have: QEMU's user mode emulates one process, the system is this one's.

An x86-64 CPU runs this very environment. For aarch64, Debian's Python is unpacked into a folder, with the wheels of
what running an artifact needs: 550 MB in the user's cache, fetched once by ``apt-get`` and ``pip``.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import filelock

from sam3port.cache.places import cache_root
from sam3port.machine.packages import requirements
from sam3port.placing import put_in_place
from sam3port.upstream.places import CHECKOUT

DEBIAN: Final = ("python3", "libstdc++6", "libgomp1")
"""Packages of the foreign architecture, besides what they depend on: the interpreter, and what wheels link with."""
LINKER: Final = "aarch64-linux-gnu-gcc"
"""Links for aarch64, and runs here."""
_OLDEST_GLIBC: Final = 17
"""2.17: the first that has wheels for aarch64."""
_TRIED: Final = "import click, numpy, PIL.Image, pycocotools.mask, rich, tokenizers, tvm"


class Unavailable(Exception):
    """Something of the kind of machine asked for cannot be run here; says why."""


@dataclass(frozen=True)
class Cpu:
    """A CPU that QEMU emulates."""

    emulator: str
    """QEMU's program."""
    model: str
    """What its ``-cpu`` is given."""

    @property
    def foreign(self) -> bool:
        """Whether it is of another architecture than x86-64."""
        return "x86_64" not in self.emulator


CPUS: Final = {
    "neoverse-n1": Cpu("qemu-aarch64-static", "neoverse-n1"),
    "aarch64-max": Cpu("qemu-aarch64-static", "max"),
    "nehalem": Cpu("qemu-x86_64-static", "Nehalem"),
    # What QEMU cannot emulate of it, named, or it warns at every start.
    "haswell": Cpu("qemu-x86_64-static", "Haswell-noTSX,-pcid,-x2apic,-tsc-deadline,-invpcid"),
}
"""By the name of their interpreter. Nehalem is x86-64-v2 and Haswell x86-64-v3; max has all that QEMU knows."""


def interpreter(name: str, folder: Path) -> Path:
    """An interpreter that takes the arguments of ``python`` and runs on that CPU.

    Args:
        name: one of `CPUS`.
        folder: where it is written; exists.

    Raises:
        Unavailable: it cannot be had on this machine.
    """
    cpu = CPUS[name]
    if shutil.which(cpu.emulator) is None:
        raise Unavailable(f"{cpu.emulator} is not installed (Debian: apt-get install qemu-user-static)")
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise Unavailable(f"written for Linux on x86-64, this is {platform.system()} on {platform.machine()}")
    if not cpu.foreign:
        return _write(folder / name, _emulated(cpu), sys.executable, {})
    if shutil.which(LINKER) is None:
        raise Unavailable(f"{LINKER} is not installed (Debian: apt-get install gcc-aarch64-linux-gnu)")
    system = _debian(cpu.emulator)
    paths = f"{system / 'wheels'}{os.pathsep}{_package(folder)}"
    return _write(folder / name, _emulated(cpu, system / "root"), _python(system), {"PYTHONPATH": paths, "CXX": LINKER})


def _emulated(cpu: Cpu, root: Path | None = None) -> list[str]:
    """The command that runs a program on this CPU, with a system's libraries under ``root``."""
    return [cpu.emulator, "-cpu", cpu.model, *(("-L", str(root)) if root else ())]


def _write(file: Path, emulated: list[str], python: str, environment: dict[str, str]) -> Path:
    settings = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())
    text = f'#!/bin/sh\n{settings}exec {shlex.join([*emulated, python])} "$@"\n'
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    aside.chmod(0o755)
    return aside.replace(file)


def _package(folder: Path) -> Path:
    """A folder to import sam3port from, as it lies in this checkout: laid out as setup.py has it, by links."""
    package = folder / "checkout" / "sam3port"
    package.mkdir(parents=True, exist_ok=True)
    for source in (*(CHECKOUT / "sam3port").iterdir(), CHECKOUT / "patches"):
        if not (package / source.name).exists():
            (package / source.name).symlink_to(source)
    return package.parent


def _debian(emulator: str) -> Path:
    """The folder that holds Debian's ``root`` and the ``wheels`` for aarch64; made once, whole or not at all."""
    what = "\n".join([*DEBIAN, *_wheels(), platform.freedesktop_os_release().get("VERSION_CODENAME", "")])
    system = cache_root() / "emulated" / f"aarch64-{hashlib.sha256(what.encode()).hexdigest()[:12]}"
    system.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(system.with_suffix(".lock")):
        if not system.is_dir():
            with put_in_place(system) as new:
                _unpack_debian(new / "root", new / "apt")
                shutil.rmtree(new / "apt")
                _install_wheels(new, emulator)
    return system


def _wheels() -> list[str]:
    """What running an artifact needs."""
    return sorted(str(asked) for asked in requirements())


def _unpack_debian(root: Path, apt: Path) -> None:
    for folder in (root, apt / "lists" / "partial", apt / "archives" / "partial"):
        folder.mkdir(parents=True)
    (apt / "status").touch()  # of a system on which nothing is installed
    settings = {
        "APT::Architecture": "arm64",
        "APT::Architectures::": "arm64",
        "APT::Sandbox::User": "",
        "Debug::NoLocking": "1",
        "Dir::State": str(apt),
        "Dir::State::status": str(apt / "status"),
        "Dir::Cache": str(apt),
    }
    get = ["apt-get", "-qq", *(word for name, value in settings.items() for word in ("-o", f"{name}={value}"))]
    _run([*get, "update"])
    _run([*get, "install", "-y", "--download-only", "--no-install-recommends", *DEBIAN])
    for package in sorted((apt / "archives").glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(root)])


def _install_wheels(system: Path, emulator: str) -> None:
    start = [emulator, "-L", str(system / "root"), _python(system)]
    asked = "import platform, sys; print('%d.%d' % sys.version_info[:2], platform.libc_ver()[1])"
    version, glibc = _run([*start, "-c", asked]).split()
    newest = int(glibc.split(".")[1])
    platforms = [f"manylinux_2_{minor}_aarch64" for minor in range(newest, _OLDEST_GLIBC - 1, -1)]
    wanted = [word for name in (*platforms, "manylinux2014_aarch64") for word in ("--platform", name)]
    wanted += ["--python-version", version, "--only-binary", ":all:", "--target", str(system / "wheels")]
    _run([sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", *wanted, *_wheels()])
    # Also leaves the bytecode of all that is imported: compiling is slow there.
    _run([*start, "-c", _TRIED], PYTHONPATH=str(system / "wheels"))


def _python(system: Path) -> str:
    return str(system / "root" / "usr" / "bin" / "python3")


def _run(command: list[str], **environment: str) -> str:
    try:
        done = subprocess.run(
            command, env={**os.environ, **environment}, capture_output=True, text=True, check=True, timeout=900
        )
    except OSError as error:
        raise Unavailable(f"{command[0]} cannot be started: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{command[0]} took over {error.timeout:.0f} s") from error
    except subprocess.CalledProcessError as error:
        said = [line for line in error.stderr.splitlines() if line.strip()]
        raise Unavailable(f"{shlex.join(command[:3])} failed: {said[-1] if said else error.returncode}") from error
    return done.stdout
