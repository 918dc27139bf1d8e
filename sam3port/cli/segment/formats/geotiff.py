"""Where a GeoTIFF lies on the ground, as far as its tags say it in one step: an affine map and its system's code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# Tags of the GeoTIFF standard (OGC 19-008r4).
_SCALE: Final = 33550
_TIEPOINT: Final = 33922
_TRANSFORMATION: Final = 34264
_KEYS: Final = 34735
_RASTER_TYPE: Final = 1025
_PIXEL_IS_POINT: Final = 2
_CODES: Final = (3072, 2048)
"""Projected system, then geographic one."""
_USER_DEFINED: Final = 32767


@dataclass(frozen=True, eq=False)
class Georeference:
    """A map from pixels to the ground."""

    matrix: NDArray[np.float64]
    """(2, 3): of x, y, 1 in pixels, from the upper left corner of the picture."""
    epsg: int | None
    """The system's code; None if the file names none."""

    @property
    def mirrored(self) -> bool:
        """Whether what turns right in the picture turns left on the ground: so it is where y points north."""
        return float(np.linalg.det(self.matrix[:, :2])) < 0

    def ground(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 2) coordinates of (n, 2) x, y in pixels."""
        result: NDArray[np.float64] = points @ self.matrix[:, :2].T + self.matrix[:, 2]
        return result


def georeference(file: Path) -> Georeference | None:
    """Of a picture; None if its file does not say where it lies."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            tags = getattr(image, "tag_v2", None)
            return None if tags is None else _read(tags)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _read(tags: Any) -> Georeference | None:
    if (whole := tags.get(_TRANSFORMATION)) is not None and len(whole) == 16:
        matrix = np.array(whole, np.float64).reshape(4, 4)[:2, [0, 1, 3]]
    elif (scale := tags.get(_SCALE)) is not None and (tie := tags.get(_TIEPOINT)) is not None and len(tie) == 6:
        (x, y), (column, row), (east, north) = scale[:2], tie[:2], tie[3:5]
        matrix = np.array([[x, 0, east - x * column], [0, -y, north + y * row]], np.float64)
    else:
        return None
    keys = _keys(tags.get(_KEYS) or ())
    if keys.get(_RASTER_TYPE) == _PIXEL_IS_POINT:  # coordinates are those of the pixels' centres
        matrix[:, 2] -= matrix[:, :2] @ np.array([0.5, 0.5])
    codes = [keys[key] for key in _CODES if keys.get(key, 0) not in (0, _USER_DEFINED)]
    return Georeference(matrix, codes[0] if codes else None)


def _keys(directory: Any) -> dict[int, int]:
    """The keys whose values stand in the directory itself: four numbers each after the first four."""
    entries = [directory[start : start + 4] for start in range(4, len(directory) - 3, 4)]
    return {int(key): int(value) for key, location, _, value in entries if location == 0}
