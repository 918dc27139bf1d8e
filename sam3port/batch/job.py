"""A job on a Ray cluster: pictures are read, segmented and written, shard by shard."""

from __future__ import annotations

import logging
import math
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import ray
import ray.data

import sam3port
from sam3port.batch import travel, tries
from sam3port.batch.listing import shard_name
from sam3port.batch.schema import DONE, READ
from sam3port.batch.segmenter import Ask, Segmenter
from sam3port.batch.shards import Shards, writing
from sam3port.batch.storage import line, resolve
from sam3port.errors import Sam3PortError, UsageError

LARGEST: Final = 1 << 30
"""Bytes of a picture's file: more than all pixels of the largest picture that is read could take."""
_ACTORS_PER_READER: Final = 4


def read(work: pa.Table) -> pa.Table:
    """Reads pictures' files; what goes wrong with one is its ``problem``.

    Args:
        work: as `sam3port.batch.schema.WORK`.

    Returns:
        as `READ`.
    """
    contents: list[bytes | None] = []
    problems: list[str | None] = []
    for row in work.select(["picture", "place", "path", "problem"]).to_pylist():
        content, problem = None, row["problem"]
        if problem is None:
            content, problem = _content(row["picture"], row["place"], row["path"])
        contents.append(content)
        problems.append(problem)
    columns = {name: work[name] for name in READ.names if name not in {"content", "problem"}}
    return pa.table({**columns, "content": contents, "problem": problems}, schema=READ)


class Worker:
    """An actor: holds the artifact, and makes of each batch, which is a shard, its files."""

    def __init__(self, artifact: travel.Artifact, shards: Shards, ask: Ask, threads: int, version: str) -> None:
        self._shards = shards
        self._error: Sam3PortError | None = None
        try:
            _same(shards, version)
            self._segmenter = Segmenter(artifact.here(), ask=ask, threads=threads)
        except Sam3PortError as error:  # said by the first batch, in whole: Ray makes a text of what is raised
            self._error = error

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Of `READ` makes `DONE`. A shard that is there already was written by a process that died thereafter."""
        try:
            if self._error is not None:
                raise self._error
            with writing(self._shards.folder):
                return _summary(self._results(batch))
        except Exception as error:  # Ray would make a long text of it
            traceback.print_exc()
            problem = error.problem if isinstance(error, Sam3PortError) else f"{type(error).__name__}: {line(error)}"
            remedy = error.remedy if isinstance(error, Sam3PortError) else "see the logs of Ray's workers there"
            return _told({"problem": f"the node {_node()}: {problem}", "remedy": remedy})

    def _results(self, batch: pa.Table) -> pa.Table:
        name = shard_name(batch)
        results = self._shards.read(name)
        if results is None:
            results = tries.carefully(self._shards.folder, name, batch, self._segmenter)
            self._shards.write(name, results)
            tries.settled(self._shards.folder, name)
        return results


def _summary(results: pa.Table) -> pa.Table:
    told = results.select(["objects", "notes", "error"]).to_pylist()
    return _told(
        {
            "pictures": len(told),
            "objects": sum(len(each["objects"]) for each in told),
            "failed": [each["error"] for each in told if each["error"] is not None],
            "noted": sum(bool(each["notes"]) for each in told),
        }
    )


def _told(row: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([row], schema=DONE)


def segment(
    work: Sequence[pa.Table], shards: Shards, folder: Path, identity: str, ask: Ask, threads: int | None = None
) -> Iterator[dict[str, Any]]:
    """Segments shards on the Ray that this process is connected to.

    Args:
        work: the shards, each as `sam3port.batch.schema.WORK`; at least one.
        shards: gets the results.
        folder: of the artifact.
        identity: the sha256 of its manifest.
        ask: what is asked of each picture; it is pickled.
        threads: of each actor, which takes as many of the cluster's CPUs; four, or fewer on small nodes, unless given.

    Yields:
        what became of each shard, a row of `DONE`, in the order in which they end.

    Raises:
        UsageError: no node has so many CPUs; a node cannot run the artifact, or does not see the folder.
        Sam3PortError: the job failed. What is done is done.
    """
    threads, actors = _pool(threads, len(work))
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    given = {
        "artifact": travel.artifact(folder, identity),
        "shards": shards,
        "ask": ask,
        "threads": threads,
        "version": sam3port.__version__,
    }
    whole: dict[str, Any] = {"batch_size": None, "batch_format": "pyarrow"}
    readers = ray.data.TaskPoolStrategy(math.ceil(actors / _ACTORS_PER_READER))
    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=len(work), initial_size=actors)
    waiting = ray.data.from_blocks(list(work))  # and not from_arrow: it keeps the cut, and starts no task for each
    pictures = waiting.map_batches(read, compute=readers, num_cpus=0, zero_copy_batch=True, **whole)
    done = pictures.map_batches(Worker, fn_constructor_kwargs=given, compute=pool, num_cpus=threads, **whole)
    try:
        for block in done.iter_batches(**whole):
            for row in block.to_pylist():
                if row["problem"] is not None:
                    raise UsageError(row["problem"], row["remedy"])
                yield row
    except ray.exceptions.RayError as error:
        raise Sam3PortError(f"the job failed: {line(error)}", "go on with --resume") from error


def _pool(threads: int | None, shards: int) -> tuple[int, int]:
    """Threads of each actor, and how many actors fit on the nodes that are there."""
    cpus = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    cpus = [count for count in cpus if count > 0]
    if not cpus:
        raise UsageError("the cluster has no CPUs", "start its nodes with --num-cpus")
    threads = threads or min(4, *cpus)
    if threads > max(cpus):
        raise UsageError(
            f"no node of the cluster has {threads} CPUs, the largest has {max(cpus)}", "give fewer --threads"
        )
    return threads, min(shards, sum(count // threads for count in cpus))


def nodes() -> int:
    """How many nodes the cluster has."""
    return sum(bool(node["Alive"]) for node in ray.nodes())


def _node() -> str:
    return str(ray.util.get_node_ip_address())


def _content(picture: str, place: str, path: str) -> tuple[bytes | None, str | None]:
    try:
        with resolve(place)[0].open_input_file(path) as stream:
            if (size := stream.size()) > LARGEST:
                return None, f"{picture} has {size} bytes, no picture that is read has more than {LARGEST}"
            return stream.read(), None
    except FileNotFoundError:
        return None, f"{picture} does not exist, as seen from the node {_node()}"
    except Sam3PortError as error:
        return None, error.problem
    except (OSError, pa.ArrowException, MemoryError) as error:
        return None, f"{picture} cannot be read: {getattr(error, 'strerror', None) or line(error)}"


def _same(shards: Shards, version: str) -> None:
    """This node has the same sam3port, and the same folder of results."""
    if version != sam3port.__version__:
        problem = f"sam3port {sam3port.__version__} is installed, the job was started by {version}"
        raise UsageError(problem, "install the same on all nodes")
    if shards.asked() != shards.run:
        raise UsageError(
            f"{shards} is another folder than on the node that started the job",
            "choose an --out that all nodes share, or on an object store: s3://BUCKET/FOLDER",
        )
