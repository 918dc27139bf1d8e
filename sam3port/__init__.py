"""sam3port: Meta's SAM 3 ported to Apache TVM.

Importing this package is cheap: it loads neither torch nor tvm nor numpy.
"""

from __future__ import annotations

TYPE_CHECKING = False  # an activated environment imports this at every start, and `typing` alone takes 2 ms
if TYPE_CHECKING:
    from typing import Any

    from sam3port.patching.install import Installation, install
    from sam3port.runtime.model import load

__version__ = "0.1.0"
__all__ = ["Installation", "__version__", "install", "load"]


def __getattr__(name: str) -> Any:
    if name in {"install", "Installation"}:
        from sam3port.patching import install as module

        return getattr(module, name)
    if name == "load":
        from sam3port.runtime import model

        return model.load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
