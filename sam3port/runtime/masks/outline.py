"""What of a mask is outline."""

from __future__ import annotations

import numpy as np

from sam3port.runtime.masks.region import Mask


def core(inside: Mask, line: int) -> Mask:
    """The mask without its outline: the pixels whose square of 2 ``line`` + 1 lies wholly in it.

    Args:
        inside: (height, width); what lies around it is outside.
        line: how wide the outline is, pixels.
    """
    length = 2 * line + 1
    result = np.zeros_like(inside)
    if min(inside.shape) >= length:
        # A square is a row of columns, and a length is made of shorter ones: a few operations, however wide the line.
        result[line:-line, line:-line] = _all_of(_all_of(inside, length).T, length).T
    return result


def _all_of(mask: Mask, length: int) -> Mask:
    """For each place in which ``length`` pixels of a column fit, whether all are true."""
    covered = 1
    while covered < length:
        step = min(covered, length - covered)
        mask = mask[:-step] & mask[step:]
        covered += step
    return mask
