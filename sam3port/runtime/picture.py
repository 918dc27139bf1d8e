"""Any picture as RGB, and RGB as the model's input."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import struct
import threading
import warnings
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from sam3port.errors import UsageError
from sam3port.runtime.resize import resize

Picture = str | os.PathLike[str] | Image.Image | NDArray[Any]
"""A file, an image of Pillow, or an array (height, width) or (height, width, 1, 3 or 4) of uint8 or uint16, RGB."""

Pixels = NDArray[np.uint8]
"""(height, width, 3), RGB."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A picture that was read, and what the image encoder takes of it."""

    pixels: Pixels
    model_input: NDArray[np.float32]
    """(1, 3, side, side)."""


_SIXTEEN_BITS: Final = ("I;16", "I;16L", "I;16B", "I;16N")
_SCALED_TO_SIXTEEN_BITS: Final = ("PNG", "PPM")
"""Formats whose 16-bit grey some versions of Pillow open as 32-bit integers, mode "I"."""
_SIXTEEN: Final = 16
_USUAL_BITS: Final = (8, 10, 12, 14, 16)
_BITS_PER_SAMPLE: Final = 258
_MAX_SAMPLE_VALUE: Final = 281
_warnings_lock = threading.Lock()


def read(picture: Picture) -> Pixels:
    """A picture as RGB, turned upright by its EXIF orientation.

    - Grey becomes three equal channels; palettes, CMYK and the like are converted by Pillow.
    - Transparency is dropped: every pixel has the colour that is stored for it, as Pillow's ``convert("RGB")``.
    - 16 bits a value become 8 by dropping the lower ones, as torchvision does (_misc.py, `to_dtype_image`). Grey TIFF
      of 10, 12 or 14 bits is stretched first: as its tags say, else as its values reach, with a warning.
    - HEIC is read where pillow-heif is installed (``pip install 'sam3port[heic]'``).
    - Of several frames or pages the first is taken. Colour profiles are ignored, as upstream does.

    Raises:
        UsageError: the file is absent, no picture, empty, cut off or of more pixels than
            ``PIL.Image.MAX_IMAGE_PIXELS`` (89 478 485 unless a program sets another limit; the guard against
            decompression bombs); the array has another shape or dtype.
    """
    if isinstance(picture, Image.Image):
        return _converted(picture, str(getattr(picture, "filename", "") or "the picture"))
    if isinstance(picture, (str, os.PathLike)):
        return _from_file(os.fspath(picture))
    if isinstance(picture, np.ndarray):
        return _from_array(picture)
    raise UsageError(
        f"a picture cannot be a {type(picture).__module__}.{type(picture).__qualname__}",
        "give a path, an image of Pillow or a numpy array",
    )


def read_content(content: bytes, name: str) -> Pixels:
    """As `read`, of what a picture's file holds.

    Args:
        content: all of it.
        name: what the picture is called in errors and warnings.

    Raises:
        UsageError: as `read`.
    """
    return _decoded(io.BytesIO(content), name, empty=not content)


@functools.cache
def with_heic() -> None:
    """Lets Pillow read HEIC, if pillow-heif is there."""
    with contextlib.suppress(ImportError, OSError):
        import pillow_heif

        pillow_heif.register_heif_opener()


def model_input(pixels: Pixels, side: int) -> NDArray[np.float32]:
    """What the image encoder takes, equal to upstream's transform to the last bit (sam3_image_processor.py:21).

    Args:
        pixels: (height, width, 3) RGB.
        side: the model's image_size.

    Returns:
        (1, 3, side, side): -1 (black) to 1 (white).
    """
    levels = np.arange(256, dtype=np.float32) * np.float32(1 / 255)
    normalised = (levels - np.float32(0.5)) / np.float32(0.5)
    return np.ascontiguousarray(normalised[resize(pixels, side, side).transpose(2, 0, 1)][None])


def _from_file(name: str) -> Pixels:
    return _decoded(name, name, empty=None)


def _decoded(source: str | io.BytesIO, name: str, empty: bool | None) -> Pixels:
    """``empty``: whether there is any content; None where the file has to be asked."""
    with_heic()
    try:
        # Only a program's own lock keeps threads from leaving each other's warning filters behind.
        with _warnings_lock, warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(source)
        with image:
            if image.format == "EPS":
                raise UsageError(f"{name} is a drawing (EPS), which Ghostscript would have to run", "give a photograph")
            return _converted(image, name)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise UsageError(
            f"{name} has more pixels than the limit of {Image.MAX_IMAGE_PIXELS}",
            "make it smaller, or set PIL.Image.MAX_IMAGE_PIXELS if you trust it",
        ) from None
    except FileNotFoundError:
        raise UsageError(f"{name} does not exist") from None
    except IsADirectoryError:
        raise UsageError(f"{name} is a folder", "give a picture's file") from None
    except PermissionError:
        raise UsageError(f"{name} must not be read (permission denied)") from None
    except UnidentifiedImageError:
        if empty is None:
            empty = os.path.getsize(name) == 0  # noqa: PTH202
        raise UsageError(f"{name} {'is empty' if empty else 'is no picture that Pillow can read'}") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        raise UsageError(f"{name} cannot be opened: {_line(error)}") from None


def _converted(image: Image.Image, name: str) -> Pixels:
    try:
        image.load()
        upright = _upright(image, name)
        if upright.mode == "P":
            # Straight to RGB, Pillow warns about transparency.
            upright = upright.convert("RGBA")
        if upright.mode in _SIXTEEN_BITS:
            return _from_array(_full_range(np.asarray(upright).astype(np.uint16), image, name))
        if upright.mode == "I" and image.format in _SCALED_TO_SIXTEEN_BITS:
            return _from_array(np.clip(np.asarray(upright), 0, 65535).astype(np.uint16))
        if upright.mode in {"I", "F"}:
            raise UsageError(
                f"{name} has 32 bits a value (mode {upright.mode}), for which black and white are not defined",
                "convert it to 8 or 16 bits first",
            )
        pixels = np.asarray(upright if upright.mode == "RGB" else upright.convert("RGB"))
    # Pillow's decoders raise all of these on files that are cut off or damaged.
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, struct.error, MemoryError) as error:
        raise UsageError(f"{name} is damaged or cannot be converted: {_line(error)}") from None
    return _not_empty(pixels, name)


def _full_range(values: NDArray[np.uint16], image: Image.Image, name: str) -> NDArray[np.uint16]:
    """Values of 10, 12 or 14 bits, as cameras and microscopes write them into TIFF, stretched to 16 bits."""
    if image.format != "TIFF":
        return values
    tags: Any = getattr(image, "tag_v2", {})
    stored, largest = (np.max(tags.get(tag, 65535)) for tag in (_BITS_PER_SAMPLE, _MAX_SAMPLE_VALUE))
    if stored < _SIXTEEN:
        bits = int(stored)
    elif 0 < largest < 65535:
        bits = int(largest).bit_length()
    else:
        found = int(values.max(initial=0))
        bits = next(each for each in _USUAL_BITS if found < 2**each)
        if bits < _SIXTEEN:
            warnings.warn(
                f"{name}: its values of 16 bits end at {found}, and are taken as {bits} bits: 0 to {2**bits - 1}",
                stacklevel=2,
            )
    stretched: NDArray[np.uint16] = np.minimum(values, 2**bits - 1) << np.uint16(_SIXTEEN - bits)
    return stretched


def _upright(image: Image.Image, name: str) -> Image.Image:
    try:
        ImageOps.exif_transpose(image, in_place=True)  # a copy would be of many megabytes
        return image
    # What Pillow's reader of EXIF raises on damaged blocks; viewers show such pictures as they are stored.
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, struct.error) as error:
        warnings.warn(f"{name}: its EXIF block cannot be read, it is taken as stored: {_line(error)}", stacklevel=2)
        return image


def _from_array(array: NDArray[Any]) -> Pixels:
    if array.dtype not in (np.dtype(np.uint8), np.dtype(np.uint16)):
        raise UsageError(
            f"the picture is an array of {array.dtype.name}", "give uint8 (0..255) or uint16 (0..65535) values"
        )
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise UsageError(
            f"the picture is an array of shape {array.shape}",
            "give (height, width), or (height, width, channels) with 1, 3 (RGB) or 4 (RGBA) channels",
        )
    if array.dtype == np.uint16:
        array = array >> 8
    colours = array[..., :3] if array.shape[2] > 1 else np.repeat(array, 3, axis=2)
    # A copy: what the caller does with the array later must not change what was encoded.
    return _not_empty(np.array(colours, np.uint8, order="C"), "the picture")


def _not_empty(pixels: Pixels, name: str) -> Pixels:
    if pixels.size == 0:
        raise UsageError(f"{name} has no pixels: {pixels.shape[1]} x {pixels.shape[0]}")
    return pixels


def _line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
