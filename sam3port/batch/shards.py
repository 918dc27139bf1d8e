"""The folder of a job: shards of results as Parquet, the same as COCO beside them, and what the job was asked.

A shard of Parquet counts as soon as it is there; its COCO is made of it, and made again if it is missing.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from sam3port.batch.coco import coco
from sam3port.batch.schema import LISTED, RESULTS
from sam3port.batch.storage import Folder, line, shown
from sam3port.batch.tries import TRIES
from sam3port.errors import Sam3PortError, UsageError

JOB: Final = "job.json"
PARQUET: Final = "parquet"
COCO: Final = "coco"
_AT_ONCE: Final = 16
"""Shards that are looked at at once: an object store answers slowly, and many at a time."""


@dataclass(frozen=True)
class Shards:
    """A job's folder, as every node sees it."""

    folder: Folder
    categories: tuple[str, ...]
    run: dict[str, Any]
    """What the job is asked: by which artifact, for what."""

    def begin(self, resume: bool) -> None:
        """Says in the folder what is asked, and removes what was left half-done.

        Raises:
            UsageError: results of an earlier job are there, and are not to be gone on with or are of another one; the
                folder cannot be written to.
        """
        with writing(self.folder):
            earlier = self.asked()
            if earlier is None and self.names():
                raise UsageError(f"{self} holds results, and no {JOB} that says of what", "choose another --out")
            if earlier is not None and not resume and self.names():
                raise UsageError(f"{self} holds results already", "go on with --resume, or choose another --out")
            if earlier is not None and resume and earlier != self.run:
                raise UsageError(
                    f"the results in {self} are of another prompt or artifact", "choose another --out, without --resume"
                )
            self.folder.write(JOB, json.dumps(self.run, indent=2).encode())
            for kind in (PARQUET, COCO):
                self.folder.remove_leftovers(kind)
            self._forget_tries()

    def asked(self) -> Any:
        """What the folder's job was asked; None if nobody says."""
        content = self.folder.read(JOB)
        if content is None:
            return None
        with contextlib.suppress(ValueError):
            return json.loads(content)
        return {}

    def names(self) -> list[str]:
        """The shards that are there, without suffix."""
        return [name.removesuffix(".parquet") for name in self.folder.names(PARQUET, ".parquet")]

    def read(self, name: str, columns: Sequence[str] | None = None) -> pa.Table | None:
        """The results in a shard; None if it is not there.

        Raises:
            UsageError: it is no such shard.
        """
        content = self.folder.read(f"{PARQUET}/{name}.parquet")
        if content is None:
            return None
        try:
            return pq.read_table(pa.BufferReader(content), columns=columns)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise UsageError(f"{self}/{PARQUET}/{name}.parquet is damaged: {line(error)}", "delete it") from None

    def write(self, name: str, results: pa.Table) -> None:
        """A shard, in the place of one of that name if there is any."""
        sink = pa.BufferOutputStream()
        pq.write_table(results.select(RESULTS.names).cast(RESULTS), sink, compression="zstd")
        self.folder.write(f"{PARQUET}/{name}.parquet", sink.getvalue().to_pybytes())
        self.write_coco(name, results)

    def write_coco(self, name: str, results: pa.Table) -> None:
        """The COCO of a shard."""
        local = self.folder.local
        content = coco(results, self.categories, self.run, None if local is None else local / COCO)
        self.folder.write(f"{COCO}/{name}.json", json.dumps(content, allow_nan=False).encode())

    def remove(self, name: str) -> None:
        """A shard and its COCO."""
        self.folder.remove(f"{PARQUET}/{name}.parquet")
        self.folder.remove(f"{COCO}/{name}.json")

    def mend(self) -> None:
        """Makes the COCO of the shards that lack theirs, and removes what belongs to none."""
        self._forget_tries()
        there = set(self.names())
        described = {name.removesuffix(".json") for name in self.folder.names(COCO, ".json")}
        for name in described - there:
            self.folder.remove(f"{COCO}/{name}.json")
        for name in sorted(there - described):
            if (results := self.read(name)) is not None:
                self.write_coco(name, results)

    def _forget_tries(self) -> None:
        for name in self.folder.names(TRIES, ".json"):
            self.folder.remove(f"{TRIES}/{name}")

    def listed(self) -> Iterator[tuple[str, pa.Table]]:
        """Of each shard its pictures: the columns of `LISTED`, and ``error``."""
        columns = [*LISTED.names, "error"]
        names = self.names()
        with ThreadPoolExecutor(_AT_ONCE, "shards") as readers:
            for name, found in zip(names, readers.map(lambda name: self.read(name, columns), names), strict=True):
                if found is not None:
                    yield name, found

    def __str__(self) -> str:
        return shown(self.folder.place)


@contextlib.contextmanager
def writing(folder: Folder) -> Iterator[None]:
    """What the system refuses within the block is said as the user's problem with a folder of results."""
    try:
        yield
    except Sam3PortError:
        raise
    except OSError as error:
        problem = f"{shown(folder.place)} cannot be written: {error.strerror or line(error)}"
        raise UsageError(problem, "choose a folder with --out that can be written to, with room in it") from error
