"""A patch: the version that upstream gives says that it is Acme's build."""

from sam3port.patching import Edit, Kind, Patch

PATCH = Patch(
    name="acme_version",
    kind=Kind.FIX,
    summary="upstream's version says whose build it is",
    reason="bug reports would go to Meta",
    upstream="sam3/__init__.py:5",
    retire_when="upstream reads its version from a file",
    edits=(
        Edit(
            module="sam3",
            symbol="",
            before='__version__ = "0.1.0"',
            after='__version__ = "0.1.0+acme"',
        ),
    ),
)
