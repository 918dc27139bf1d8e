"""What an activated environment runs at every start of its interpreter. Has to cost next to nothing.

``sam3port apply-patches --activate`` writes a ``.pth`` file whose one line calls `start`. It puts a finder in front
that does nothing until somebody imports ``sam3``, and only then loads the machinery.
"""

import sys


class _Waiting:
    """A meta path finder that installs the real one at the first ``import sam3``."""

    def __init__(self, upstream, disable):  # type: ignore[no-untyped-def]
        self.upstream = upstream
        self.disable = disable
        self.done = False

    def find_spec(self, fullname, path=None, target=None):  # type: ignore[no-untyped-def]
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


def start(upstream=None, disable=()):  # type: ignore[no-untyped-def]
    """Called by the ``.pth`` file. Typing is left out: ``import typing`` costs more than all of this."""
    if not any(isinstance(finder, _Waiting) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Waiting(upstream, disable))
