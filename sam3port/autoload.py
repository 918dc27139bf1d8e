"""What an activated environment runs at every start of its interpreter. Has to cost next to nothing.

``sam3port apply-patches --activate`` writes a ``.pth`` file whose one line calls `start`. It puts a finder in front
that does nothing until somebody imports ``sam3``, and only then loads the machinery.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # `import typing` costs more than all of this
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


class _Waiting:
    """A meta path finder that installs the real one at the first ``import sam3``."""

    def __init__(self, upstream: str | None, disable: tuple[str, ...]) -> None:
        self.upstream = upstream
        self.disable = disable
        self.done = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if self.done or (fullname != "sam3" and not fullname.startswith("sam3.")):
            return None
        import os

        from sam3port.patching.install import current, install

        installation = current()
        if installation is None:
            # What this process is told goes before what the environment was activated with.
            installation = install(os.environ.get("SAM3PORT_UPSTREAM") or self.upstream, disable=self.disable)
        self.done = True  # It stays in the list, which another thread may be going through.
        return installation.finder.find_spec(fullname, path, target)


def start(upstream: str | None = None, disable: tuple[str, ...] = ()) -> None:
    """Called by the ``.pth`` file, with what the environment was activated for."""
    if not any(isinstance(finder, _Waiting) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Waiting(upstream, disable))
