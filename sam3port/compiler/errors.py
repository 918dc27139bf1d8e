"""What can go wrong between upstream's source and a compiled library."""

from __future__ import annotations

from sam3port.errors import Sam3PortError


class UnsupportedOperator(Sam3PortError):
    """An operator of the exported program has no converter, or one that does not cover these arguments."""


class InputError(Sam3PortError):
    """What a compiled component was given does not fit what it was built for."""
