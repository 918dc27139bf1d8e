"""What an activated environment runs at every start of its interpreter. Has to cost next to nothing.

``sam3port apply-patches --activate`` writes a ``.pth`` file whose one line calls `start`. It puts a finder in front
that does nothing until somebody imports ``sam3``, and only then loads the machinery.
"""

import sys


class _Waiting:
    """A meta path finder that installs the real one at the first ``import sam3``, then steps aside."""

    def __init__(self, upstream, disable):  # type: ignore[no-untyped-def]
        self.upstream = upstream
        self.disable = disable

    def find_spec(self, fullname, path=None, target=None):  # type: ignore[no-untyped-def]
        if fullname != "sam3" and not fullname.startswith("sam3."):
            return None
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        from sam3port.patching.install import current, install

        installation = current()
        if installation is None:
            try:
                installation = install(self.upstream, disable=self.disable)
            except BaseException:
                sys.meta_path.insert(0, self)
                raise
        return installation.finder.find_spec(fullname, path, target)


def start(upstream=None, disable=()):  # type: ignore[no-untyped-def]
    """Called by the ``.pth`` file. Typing is left out: ``import typing`` costs more than all of this."""
    if not any(isinstance(finder, _Waiting) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Waiting(upstream, disable))
