"""What an artifact says about itself: ``manifest.json``, read strictly."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from sam3port.artifact.fields import Wrong, count, get, texts
from sam3port.artifact.interface import Capacity, TensorSpec
from sam3port.errors import UsageError

FORMAT: Final = 1
KIND: Final = "sam3port artifact"
MANIFEST: Final = "manifest.json"
TOKENIZER: Final = "tokenizer.json"
ENTRIES: Final = ("encode_image", "encode_text", "ground", "click")
"""The functions of the library that a program calls."""
LATER: Final = ("exemplar", "ground_like")
"""Functions that artifacts of the same format may lack: those that were built before there were any."""
FUNCTIONS: Final = ("points", "clicks")
"""What an artifact can be without, for want of weights: points as examples in ``ground``, and all of ``click``."""
BUILD_AGAIN: Final = "build it again: sam3port build"
_DIGEST_DIGITS: Final = 64


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the arrays' sizes follow from."""

    image_size: int
    """Side of the square that every picture is resized to, pixels."""
    mask_size: int
    """Side of the masks that clicks take and return."""
    num_queries: int
    """The most objects that one prompt finds."""
    text_context: int
    """Tokens of a text, start and end included."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the artifact runs."""

    name: str
    """The target: ``cpu``, ``cuda``, ``metal`` or a plugin's."""
    device: str
    """TVM's name of the device."""
    system: str
    """As ``platform.system()``."""
    machine: str
    """As ``platform.machine()``."""
    cpu_features: tuple[str, ...]
    """What the processor must have."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A function of the library: takes inputs, then the packed weights of components; gives a tuple."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListedFile:
    """One file of the artifact."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """An artifact, described."""

    sam3port: str
    """The version that built it."""
    upstream: str
    """Commit of facebookresearch/sam3."""
    preset: str
    dtype: str
    """What the weights are computed in: ``float32`` or ``bfloat16``."""
    weights: dict[str, Any]
    """``seed``, or ``checkpoint`` (its name), ``sha256`` and ``lacks``; ``base``, too, where there was one."""
    capacity: Capacity
    sizes: Sizes
    target: Machine
    library: str
    entries: dict[str, Entry]
    files: dict[str, ListedFile]
    versions: dict[str, str]
    """Of the packages that built it."""

    def require(self, function: str, what: str) -> None:
        """Makes sure that the weights offer something.

        Args:
            function: of `FUNCTIONS`.
            what: begins the error: "points as examples".

        Raises:
            UsageError: the checkpoint had no weights for it; it names what was built from.
        """
        if function in self.weights.get("lacks", ()):
            raise UsageError(
                f"this artifact takes no {what}: it was built from {self.weights.get('checkpoint')},"
                " which has no weights for them",
                "build it from sam3.pt, or give that as --base",
            )

    def require_later(self, function: str, what: str) -> None:
        """Raises UsageError when the artifact was built before there was a function of `LATER`."""
        if function not in self.entries:
            raise UsageError(f"this artifact takes no {what}: an earlier sam3port has built it", BUILD_AGAIN)


def read(folder: Path) -> Manifest:
    """The manifest of the artifact in ``folder``.

    Raises:
        UsageError: it is missing, damaged, of another format, or does not say everything that it has to.
    """
    file = folder / MANIFEST
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        what = "is no artifact" if folder.is_dir() else "does not exist" if not folder.exists() else "is no folder"
        reason = f" ({MANIFEST} is missing)" if folder.is_dir() else ""
        raise UsageError(f"{folder} {what}{reason}", "make one: sam3port build --out DIR") from None
    except NotADirectoryError:
        raise UsageError(f"{folder} is no folder", "give the folder that `sam3port build` made") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file} is damaged: {error}", BUILD_AGAIN) from None
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise UsageError(f"{file} does not describe a {KIND}", "give the folder that `sam3port build` made")
    _check_format(file, content)
    try:
        return _manifest(content)
    except Wrong as wrong:
        raise UsageError(f"{file} is damaged: {wrong}", BUILD_AGAIN) from None


def _check_format(file: Path, content: dict[str, Any]) -> None:
    found = content.get("format")
    if found == FORMAT and type(found) is int:
        return
    if type(found) is int and found > FORMAT:
        problem = f"{file.parent} has format {found}: it was made by a newer sam3port ({content.get('sam3port')})"
        raise UsageError(f"{problem}; this one reads format {FORMAT}", "install that version, or build it again")
    raise UsageError(f"{file.parent} has the unknown format {found!r}; this sam3port reads {FORMAT}", BUILD_AGAIN)


def _manifest(content: dict[str, Any]) -> Manifest:
    sizes, capacity, target = (get(content, name, dict) for name in ("sizes", "capacity", "target"))
    entries, weights = get(content, "entries", dict), get(content, "weights", dict)
    manifest = Manifest(
        sam3port=get(content, "sam3port", str),
        upstream=get(content, "upstream", str),
        preset=get(content, "preset", str),
        dtype=get(content, "dtype", str),
        weights=weights,
        capacity=Capacity(**{name: count(capacity, name) for name in ("prompts", "points", "boxes")}),
        sizes=Sizes(
            **{name: count(sizes, name) for name in ("image_size", "mask_size", "num_queries", "text_context")}
        ),
        target=Machine(
            **{name: get(target, name, str) for name in ("name", "device", "system", "machine")},
            cpu_features=tuple(texts(target, "cpu_features")),
        ),
        library=get(content, "library", str),
        entries={name: _entry(get(entries, name, dict)) for name in _there(entries, weights)},
        files={name: _file(name, file) for name, file in get(content, "files", dict).items()},
        versions={name: get(content["versions"], name, str) for name in get(content, "versions", dict)},
    )
    needed = [manifest.library, TOKENIZER, *(parameters_file(c) for c in components(manifest))]
    if missing := [name for name in needed if name not in manifest.files]:
        raise Wrong(f"files does not list {missing[0]}")
    return manifest


def components(manifest: Manifest) -> list[str]:
    """The components whose weights the entries take, each once."""
    return list(dict.fromkeys(name for entry in manifest.entries.values() for name in entry.parameters))


def parameters_file(component: str) -> str:
    """Where a component's weights lie in the artifact."""
    return f"params/{component}.safetensors"


def _entries(weights: dict[str, Any]) -> list[str]:
    """The functions that an artifact with these weights has."""
    lacks = texts(weights, "lacks") if "lacks" in weights else ()
    return [name for name in ENTRIES if name != "click" or "clicks" not in lacks]


def _there(entries: dict[str, Any], weights: dict[str, Any]) -> list[str]:
    """`_entries`, and those of `LATER` that the manifest describes."""
    return [*_entries(weights), *(name for name in LATER if name in entries)]


def _entry(content: dict[str, Any]) -> Entry:
    inputs, outputs = (tuple(_spec(each) for each in get(content, name, list)) for name in ("inputs", "outputs"))
    return Entry(inputs, outputs, tuple(texts(content, "parameters")))


def _spec(content: Any) -> TensorSpec:
    name, dtype, meaning = (get(content, key, str) for key in ("name", "dtype", "meaning"))
    shape = get(content, "shape", list)
    return TensorSpec(name, tuple(count({"shape": size}, "shape") for size in shape), dtype, meaning)


def _file(name: str, content: Any) -> ListedFile:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or str(path) != name:
        raise Wrong(f"files lists {name!r}, which is no path within the artifact")
    digest = get(content, "sha256", str)
    if len(digest) != _DIGEST_DIGITS or set(digest) - set("0123456789abcdef"):
        raise Wrong(f"the sha256 of {name} is {digest!r}")
    return ListedFile(digest, int(get(content, "bytes", int)))
