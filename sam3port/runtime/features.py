"""What the image encoder made of pictures, on disk: in safetensors, for the artifact that made it and no other."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sam3port.artifact import weights as parameters
from sam3port.errors import Sam3PortError, UsageError
from sam3port.placing import replacing
from sam3port.runtime.picture import Pixels

KIND: Final = "sam3port features 1"
PIXELS: Final = "pixels"
DTYPES: Final = ("float32", "float16")
_SUFFIX: Final = ".features.safetensors"
_DAMAGED: Final = "encode the picture again"

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Features:
    """Read from a file."""

    arrays: dict[str, NDArray[Any]]
    """By name, in the types that the artifact takes."""
    digest: str
    """Of the picture's pixels."""
    pixels: Pixels | None
    """The picture, if it was written with them."""


def digest_of(pixels: Pixels) -> str:
    """The sha256 of a picture's size and pixels."""
    digest = hashlib.sha256(f"{pixels.shape} ".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def write(
    file: Path, arrays: Arrays, identity: str, digest: str, dtype: str = "float32", pixels: Pixels | None = None
) -> None:
    """Writes features, whole or not at all.

    Args:
        file: is replaced.
        arrays: by name.
        identity: of the artifact (`sam3port.runtime.model.Model.identity`).
        digest: of the picture (`digest_of`).
        dtype: ``float16`` halves the file and rounds float32 to it.
        pixels: to be kept with them.

    Raises:
        UsageError: it cannot be written; the dtype is unknown, or a value does not fit it.
    """
    if dtype not in DTYPES:
        raise UsageError(f"features cannot be kept as {dtype!r}", f"choose {' or '.join(DTYPES)}")
    kept = {name: _as(array, dtype, file) for name, array in arrays.items()}
    if pixels is not None:
        kept[PIXELS] = pixels
    about = {"kind": KIND, "artifact": identity, "picture": digest, "sha256": _sha256(kept)}
    with replacing(file) as stream:
        parameters.write(Path(stream.name), kept, about)


def read(file: Path, specs: Mapping[str, tuple[tuple[int, ...], str]], identity: str) -> Features:
    """Reads features of this artifact.

    Args:
        file: from `write`.
        specs: the shape and dtype of each array that the artifact takes.
        identity: of the artifact.

    Raises:
        UsageError: they are of another artifact, or the file is absent, damaged or no such file.
    """
    try:
        about = parameters.read_metadata(file)
        if about.get("kind") != KIND:
            raise UsageError(f"{file} holds no features of a picture", _DAMAGED)
        if about.get("artifact") != identity:
            raise UsageError(f"{file} was made by another artifact", f"open that one, or {_DAMAGED}")
        found = parameters.read(file)
        whole = _sha256(found) == about.get("sha256")
    except UsageError:
        raise
    # Whatever a damaged header leads to.
    except (Sam3PortError, OSError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{file} cannot be read: {_line(error)}", _DAMAGED) from None
    if not whole:
        raise UsageError(f"{file} is damaged: its sha256 is another", _DAMAGED)
    pixels = found.pop(PIXELS, None)
    arrays = {name: found[name].astype(dtype) for name, (_, dtype) in specs.items() if name in found}
    if any(name not in arrays or arrays[name].shape != shape for name, (shape, _) in specs.items()):
        raise UsageError(f"{file} lacks what this artifact takes", _DAMAGED)
    return Features(arrays, str(about.get("picture")), None if pixels is None else np.array(pixels))


class FeatureFolder:
    """A folder of features, by picture and artifact; those used least recently go when it grows too large.

    Several programs may use it at once.
    """

    def __init__(self, folder: Path, most_bytes: int, dtype: str = "float32") -> None:
        """
        Args:
            folder: made if absent.
            most_bytes: of all files together.
            dtype: what new files hold.

        Raises:
            UsageError: it cannot be made.
        """
        self._folder = folder
        self._most = most_bytes
        self._dtype = dtype
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{folder} cannot be made: {error.strerror}", "choose another folder") from None

    def get(self, digest: str, identity: str, specs: Mapping[str, tuple[tuple[int, ...], str]]) -> Features | None:
        """Features of a picture; None if there are none, or none that are whole."""
        file = self._file(digest, identity)
        if not file.exists():
            return None
        try:
            found = read(file, specs, identity)
        except UsageError:
            return None
        if found.digest != digest:
            return None
        with contextlib.suppress(OSError):
            os.utime(file)  # used now
        return found

    def put(self, digest: str, identity: str, arrays: Arrays) -> None:
        """Keeps features, and removes what is too much.

        Raises:
            UsageError: they cannot be written, or do not fit the dtype.
        """
        write(self._file(digest, identity), arrays, identity, digest, self._dtype)
        self._shrink()

    def _file(self, digest: str, identity: str) -> Path:
        return self._folder / f"{digest[:32]}-{identity[:16]}-{self._dtype}{_SUFFIX}"

    def _shrink(self) -> None:
        files = []
        for file in self._folder.glob(f"*{_SUFFIX}"):
            with contextlib.suppress(OSError):  # another program removed it
                status = file.stat()
                files.append((status.st_mtime_ns, status.st_size, file))
        total = sum(size for _, size, _ in files)
        for _, size, file in sorted(files, key=lambda each: each[0]):
            if total <= self._most:
                return
            with contextlib.suppress(OSError):
                file.unlink()
            total -= size


def _as(array: NDArray[Any], dtype: str, file: Path) -> NDArray[Any]:
    if dtype == "float32" or array.dtype != np.float32:
        return array
    with np.errstate(over="ignore"):
        small = array.astype(np.float16)
    if not np.isfinite(small).all():
        raise UsageError(f"features for {file} do not fit float16", "keep them as float32")
    return small


def _sha256(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
