"""Folders that a user may stand in: with files that are called like modules of ours, or of others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

MODULES = (
    *("numpy", "tvm", "tvm_ffi", "torch", "torchvision", "sam3", "sam3port/__init__", "sitecustomize", "usercustomize"),
    *("json", "typing", "subprocess", "click", "rich", "pluggy", "filelock", "platformdirs", "psutil", "git", "pip"),
    *("PIL", "timm", "matplotlib", "scipy", "regex", "tokenizers", "pycocotools", "cloudpickle", "tornado"),
    *("onnx", "openvino", "starlette", "uvicorn", "anyio"),
)
MARK = "was imported"


def hostile_folder(folder: Path, *more: str, leave_out: Sequence[str] = ()) -> Path:
    """Makes it. Every module there says in a file that it was imported, and fails."""
    for module in (*MODULES, *more):
        if module in leave_out:
            continue
        file = folder / f"{module}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        mark = folder / MARK
        file.write_text(
            f"open({str(mark)!a}, 'a').write({module!r} + '\\n')\nraise ImportError({f'hostile {module}'!r})\n",
            encoding="utf-8",
        )
    return folder


def imported(folder: Path) -> list[str]:
    """The modules there that were imported, in order."""
    mark = folder / MARK
    return mark.read_text(encoding="utf-8").split() if mark.exists() else []
