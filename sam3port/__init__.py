"""sam3port: Meta's SAM 3 ported to Apache TVM.

Importing this package is cheap: it loads neither torch nor tvm nor numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sam3port.patching.install import Installation, install

__version__ = "0.1.0"
__all__ = ["Installation", "__version__", "install"]


def __getattr__(name: str) -> Any:
    if name in {"install", "Installation"}:
        from sam3port.patching import install as module

        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
