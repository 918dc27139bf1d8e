"""The submodule ``external/sam3`` of a checkout of ours: is it there, and fetching it through GitPython."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sam3port.upstream import pin
from sam3port.upstream.head import git_dir

if TYPE_CHECKING:
    import subprocess

# While `git submodule update` runs, its half-made tree must count as absent, also after a kill -9. The marker
# says so, and lists what did not exist before, so that the next process can clear up exactly that.
_MARKER: Final = "sam3port-fetching"
_MODULES: Final = "modules"
_CONFIG: Final = "config"

_PROBE_TIME_LIMIT: Final = 8.0
_UPDATE_TIME_LIMIT: Final = 300.0
_SECTION: Final = f"submodule.{pin.SUBMODULE}"


def is_populated(checkout: Path) -> bool:
    """Whether ``external/sam3`` holds source, and not what an interrupted fetch has left."""
    if not (checkout / pin.SUBMODULE / "sam3").is_dir():
        return False
    directory = git_dir(checkout)
    return directory is None or not (directory / _MARKER).exists()


def can_fetch(checkout: Path) -> bool:
    """Whether ``checkout`` is a git checkout of ours whose submodule folder is free to be filled."""
    directory = git_dir(checkout)
    if directory is None or not (checkout / ".gitmodules").is_file():
        return False
    if "GIT_DIR" in os.environ:  # inside a git hook: git would act on the repository that it names
        return False
    folder = checkout / pin.SUBMODULE
    return (directory / _MARKER).exists() or not folder.exists() or not any(folder.iterdir())


def fetch(checkout: Path, report: Callable[[str], None]) -> bool:
    """Fill ``external/sam3``. If git cannot: report why, leave the folder empty as it was, and return False.

    Safe for two processes at once: the second finds the work done.
    """
    import filelock

    directory = git_dir(checkout)
    assert directory is not None, "can_fetch has been asked"
    try:
        with filelock.FileLock(directory / f"{_MARKER}.lock", timeout=_UPDATE_TIME_LIMIT):
            if is_populated(checkout):
                return True
            _fetch_alone(checkout, directory)
    except (ImportError, OSError, _GitFailed) as error:  # ImportError: GitPython finds no git program
        reason = (str(error).strip().splitlines() or ["unknown reason"])[-1]
        report(f"the submodule {pin.SUBMODULE} cannot be fetched with git: {reason}")
        return False
    report(f"sam3 {pin.SHORT} is in {checkout / pin.SUBMODULE} (under the SAM License, see its LICENSE)")
    return True


class _GitFailed(Exception):
    pass


def _fetch_alone(checkout: Path, directory: Path) -> None:
    marker = directory / _MARKER
    if marker.exists():
        _clear(checkout, directory)
    configured = _git(checkout, "config", "--get", f"{_SECTION}.url", may_fail=True)
    url = configured or _git(checkout, "config", "--file", ".gitmodules", "--get", f"{_SECTION}.url")
    if not (directory / "modules" / pin.SUBMODULE).exists():
        # Asking first makes a missing network cheap, and leaves the update the time that a slow one needs.
        _git(checkout, "ls-remote", "--quiet", url, "HEAD", time_limit=_PROBE_TIME_LIMIT)
    created = [] if (directory / "modules" / pin.SUBMODULE).exists() else [_MODULES]
    created += [] if configured else [_CONFIG]
    marker.write_text("\n".join(created), encoding="utf-8")
    try:
        _git(
            checkout, "submodule", "update", "--init", "--depth", "1", "--", pin.SUBMODULE,
            time_limit=_UPDATE_TIME_LIMIT,
        )  # fmt: skip
        if not (checkout / pin.SUBMODULE / "sam3").is_dir():
            raise _GitFailed(f"git left no sam3/ in {pin.SUBMODULE}")
    except BaseException:
        _clear(checkout, directory)
        raise
    marker.unlink()


def _clear(checkout: Path, directory: Path) -> None:
    """Undo a fetch that did not end, as its marker says, and remove the marker last."""
    from git.util import rmtree  # also removes the read-only files that git makes on Windows

    marker = directory / _MARKER
    created = marker.read_text(encoding="utf-8").split()
    folder = checkout / pin.SUBMODULE
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.is_dir() and not entry.is_symlink():
            rmtree(str(entry))
        else:
            entry.unlink()
    modules = directory / "modules" / pin.SUBMODULE
    if _MODULES in created and modules.exists():
        rmtree(str(modules))
    (modules / "index.lock").unlink(missing_ok=True)
    if _CONFIG in created:
        _git(checkout, "config", "--local", "--remove-section", _SECTION, may_fail=True)
    marker.unlink()


def _git(checkout: Path, *arguments: str, time_limit: float = 30.0, may_fail: bool = False) -> str:
    """Run git through GitPython, without questions to the user; end it and its children after ``time_limit`` s.

    GitPython's own ``kill_after_timeout`` does not exist on Windows.
    """
    # Imported here: `is_populated` is asked on every start.
    import subprocess

    import git

    environment = {"GIT_TERMINAL_PROMPT": "0", "GCM_INTERACTIVE": "never", "LC_ALL": "C"}
    running = git.Git(str(checkout)).execute(["git", *arguments], as_process=True, env=environment)
    process = running.proc
    assert process is not None
    try:
        output, errors = process.communicate(timeout=time_limit)
    except subprocess.TimeoutExpired as error:
        _kill(process)
        raise _GitFailed(f"`git {arguments[0]}` took over {time_limit:.0f} s") from error
    except BaseException:
        _kill(process)
        raise
    if process.returncode != 0 and not may_fail:
        raise _GitFailed(errors.decode(errors="replace") or f"`git {arguments[0]}` failed")
    return str(output.decode(errors="replace")).strip()


def _kill(process: subprocess.Popen[bytes]) -> None:
    import psutil

    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.Error:
        family = []
    process.kill()
    for child in family:
        try:
            child.kill()
        except psutil.Error:
            continue
    process.communicate()
