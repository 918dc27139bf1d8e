"""The machinery that edits upstream's source on its way from disk to the interpreter."""

from sam3port.patching.patch import Edit, Kind, Patch

__all__ = ["Edit", "Kind", "Patch"]
