"""Which pictures a job is about, cut into shards; and which of them an earlier job has done."""

from __future__ import annotations

import fnmatch
import glob
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs

from sam3port.batch.schema import WORK
from sam3port.batch.shards import Shards
from sam3port.batch.storage import line, resolve, shown
from sam3port.errors import UsageError

SHARD_BYTES: Final = 96_000_000
"""Of pictures' files in one shard, unless a single one is larger: Ray Data cuts blocks that are larger than 128 MiB."""


@dataclass
class Listing:
    """The pictures of a job, one column a field; no two are the same file."""

    pictures: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    changed: list[int | None] = field(default_factory=list)
    problems: list[str | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.pictures)

    def add(
        self, picture: str, place: str, path: str, size: int = 0, changed: int | None = None, problem: str | None = None
    ) -> None:
        """One of them; see `sam3port.batch.schema.WORK`."""
        self.pictures.append(picture)
        self.places.append(place)
        self.paths.append(path)
        self.sizes.append(size)
        self.changed.append(changed)
        self.problems.append(problem)

    def once(self) -> Listing:
        """Each file once, also where two folders or patterns name it."""
        seen: set[str] = set()
        found = Listing()
        fields = (self.pictures, self.places, self.paths, self.sizes, self.changed, self.problems)
        for picture, *others in zip(*fields, strict=True):
            if picture not in seen:
                seen.add(picture)
                found.add(picture, *others)
        return found

    def table(self) -> pa.Table:
        """Columns of `WORK`, without ``image_id``."""
        columns = {
            "picture": self.pictures,
            "file_size": self.sizes,
            "mtime_ns": self.changed,
            "place": self.places,
            "path": self.paths,
            "problem": self.problems,
        }
        return pa.table({name: pa.array(column, WORK.field(name).type) for name, column in columns.items()})


def add_uri(listing: Listing, place: str, suffixes: frozenset[str], skipped: list[str]) -> None:
    """The pictures that a URI stands for: a file's, a folder's (not those of folders within) or a pattern's.

    Args:
        listing: gets them, in the order of their names.
        place: such as ``s3://bucket/folder``, ``s3://bucket/folder/*.jpg``.
        suffixes: what the names of pictures in a folder end with, in lower case.
        skipped: gets the other files of a folder.

    Raises:
        UsageError: the file system is unknown, cannot be reached, or refuses.
    """
    folder, _, last = place.rpartition("/")
    pattern = last if glob.has_magic(last) else None
    system, path = resolve(place if pattern is None else folder)
    scheme = place.partition("://")[0]
    try:
        whole = system.get_file_info(path)
        if pattern is None and whole.type == fs.FileType.File:
            found = [whole]
        else:
            inside = system.get_file_info(fs.FileSelector(path, allow_not_found=True))
            found = sorted((each for each in inside if each.type == fs.FileType.File), key=lambda each: str(each.path))
    except OSError as error:
        raise UsageError(f"{shown(place)} cannot be listed: {line(error)}") from None
    before = len(listing)
    for info in found:
        name = info.base_name
        if info is not whole and (name.startswith(".") or not fnmatch.fnmatchcase(name, pattern or "*")):
            continue
        if info is not whole and pattern is None and f".{name.rpartition('.')[2].lower()}" not in suffixes:
            skipped.append(name)
            continue
        listing.add(f"{scheme}://{info.path}", place, info.path, info.size, _nanoseconds(info))
    if len(listing) == before:
        problem = "no file matches" if pattern is not None else "there is no picture at"
        listing.add(shown(place), place, path, problem=f"{problem} {shown(place)}")


def pending(listing: Listing, shards: Shards) -> tuple[pa.Table, int]:
    """What is left to do of a listing; shards of earlier jobs keep what still holds, and nothing twice.

    A picture is done when a shard has it without an error, and its file has neither another size nor another time of
    change since. What a shard has of others in the listing is dropped from it.

    Returns:
        as `Listing.table`, with ``image_id``; how many are done.
    """
    wanted = listing.table()
    keys, pictures = _keys(wanted), wanted["picture"]
    done: list[pa.Array] = []
    highest = 0
    seen: set[str] = set()
    for name, table in shards.listed():
        highest = max(highest, pc.max(table["image_id"]).as_py() or 0)
        good = pc.and_(pc.is_null(table["error"]), pc.is_in(_keys(table), keys))
        stale = pc.and_(pc.invert(good), pc.is_in(table["picture"], pictures))
        keep = [not old and picture not in seen for old, picture in _pairs(stale, table["picture"])]
        seen.update(table["picture"].to_pylist())
        if not all(keep):
            _drop(shards, name, keep)
        done += pc.filter(table["picture"], pa.array(keep)).chunks
    finished = pc.is_in(pictures, pa.chunked_array(done, pa.string()))
    left = wanted.filter(pc.invert(finished))
    numbers = pa.array(range(highest + 1, highest + 1 + len(left)), pa.int64())
    return left.append_column("image_id", numbers), len(wanted) - len(left)


def missing(listing: Listing, shards: Shards) -> list[str]:
    """The pictures that no shard has."""
    there = {picture for _, table in shards.listed() for picture in table["picture"].to_pylist()}
    return [picture for picture in listing.pictures if picture not in there]


def cut(work: pa.Table, most: int) -> list[pa.Table]:
    """Shards of at most so many pictures, each as `WORK`; large pictures make shards of fewer."""
    sizes = work["file_size"].to_pylist()
    starts, room = [0], SHARD_BYTES
    for index, size in enumerate(sizes):
        if index > starts[-1] and (index - starts[-1] >= most or size > room):
            starts.append(index)
            room = SHARD_BYTES
        room -= size
    ends = [*starts[1:], len(sizes)]
    work = work.select(WORK.names)
    return [work.slice(start, end - start) for start, end in zip(starts, ends, strict=True) if end > start]


def shard_name(pictures: pa.Table) -> str:
    """The number of the first picture, and a digest of which they are: of others it is another one."""
    digest = hashlib.sha256("\n".join(_keys(pictures).to_pylist()).encode()).hexdigest()
    return f"part-{pictures['image_id'][0].as_py():09}-{digest[:12]}"


def _keys(table: pa.Table) -> Any:
    """A text for each picture that tells whether it is the same file, unchanged."""
    numbers = [pc.fill_null(pc.cast(table[name], pa.string()), "") for name in ("file_size", "mtime_ns")]
    return pc.binary_join_element_wise(table["picture"], *numbers, "\t")


def _pairs(flags: Any, names: Any) -> Iterator[tuple[bool, str]]:
    return zip(flags.to_pylist(), names.to_pylist(), strict=True)


def _drop(shards: Shards, name: str, keep: list[bool]) -> None:
    """Leaves those rows of a shard."""
    if not any(keep):
        shards.remove(name)
    elif (results := shards.read(name)) is not None:
        shards.write(name, results.filter(pa.array(keep)))


def _nanoseconds(info: Any) -> int | None:
    return None if info.mtime_ns is None else int(info.mtime_ns)
