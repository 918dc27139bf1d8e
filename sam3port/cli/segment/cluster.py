"""``sam3port segment --ray``: the same, of very many pictures, on the machines of a Ray cluster."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from sam3port.cli.console import printable
from sam3port.cli.segment.only_run import only_run
from sam3port.cli.segment.prompts import Prompt
from sam3port.errors import Sam3PortError, UsageError

if TYPE_CHECKING:
    from sam3port.batch.listing import Listing
    from sam3port.batch.shards import Shards
    from sam3port.cli.segment.images import Source

HERE: Final = "here"
"""``--ray`` without an address."""
SHARD: Final = 32
_ADDRESS: Final = re.compile(r"auto|local|(ray://)?[\w.\-\[\]:]+:\d+")
_ENVIRONMENT: Final = "RAY_ADDRESS"
_MEANINGLESS: Final = {
    "mask_format": "masks are run lengths in the Parquet",
    "overlay": "no pictures are written",
    "polygons": "masks are run lengths",
    "also": "results are Parquet and COCO",
    "features": "a folder on one machine would be in the way of all",
    "features_dtype": "it belongs to --features",
    "features_limit": "it belongs to --features",
    "like": "its picture is on one machine",
}
"""Options that make files for each picture, or keep some, on one machine; and why they are refused."""


class WithAddress(click.Command):
    """A command whose ``--ray`` may be followed by an address, and by pictures if it is none."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's; ``--ray photos`` is ``--ray=here photos``."""
        words: list[str] = []
        for index, word in enumerate(args):
            following = args[index + 1] if index + 1 < len(args) else ""
            bare = word == "--ray" and "--" not in args[:index]
            words.append(f"--ray={HERE}" if bare and not _is_address(following) else word)
        return super().parse_args(ctx, words)


def _is_address(word: str) -> bool:
    return _ADDRESS.fullmatch(word) is not None and not os.path.lexists(word)


def refuse_meaningless(context: click.Context) -> None:
    """Raises UsageError for options that were given and do nothing on a cluster."""
    for name, reason in _MEANINGLESS.items():
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            option = "--" + name.replace("_", "-")
            raise UsageError(f"--ray does not go with {option}: {reason}", f"leave {option} out")


@dataclass
class _Counted:
    """What became of a job so far."""

    pictures: int
    before: int
    done: int = 0
    objects: int = 0
    failed: int = 0
    noted: int = 0
    nodes: int = 0
    first: int = 0
    first_at: float | None = None

    def add(self, row: dict[str, Any], nodes: int) -> None:
        """A shard that is done; says what is wrong in it or with the cluster, and how far the job is."""
        if nodes < self.nodes:
            _say(f"sam3port: the cluster has {nodes} nodes, {self.nodes} before; what was lost with them is done again")
        self.nodes = nodes
        self.done += row["pictures"]
        if self.first_at is None:  # until then processes are started
            self.first, self.first_at = self.done, time.monotonic()
        self.objects += row["objects"]
        self.failed += len(row["failed"])
        for problem in row["failed"]:
            _say(f"sam3port: {problem}")
        self.noted += row["noted"]
        _say(f"[{self.before + self.done}/{self.pictures}] {self.objects} objects{self._left()}")

    def _left(self) -> str:
        from sam3port.cli.segment.progress import duration

        left = self.pictures - self.before - self.done
        if not left or self.first_at is None or self.done == self.first:
            return ""
        each = (time.monotonic() - self.first_at) / (self.done - self.first)
        return f" ({duration(each * left)} left)"


def segment_on_cluster(
    address: str,
    images: Sequence[str],
    artifact: Path,
    prompt: Prompt,
    out: str,
    shard: int,
    resume: bool,
    threads: int | None,
    as_json: bool,
) -> int:
    """Runs the job and prints what became of it.

    Returns:
        the exit status: 1 when a picture could not be used, 2 when none could.

    Raises:
        UsageError: something is wrong with the cluster, the artifact, the prompt or the folder of results.
    """
    from sam3port.artifact import manifest as manifests
    from sam3port.artifact.hashes import sha256
    from sam3port.batch import job, listing
    from sam3port.batch.connect import LOCAL, connected
    from sam3port.batch.shards import Shards, writing
    from sam3port.batch.storage import Folder, is_uri

    manifest = manifests.read(artifact)
    prompt.fits(manifest.capacity)
    prompt.has_weights(manifest)
    identity = sha256(artifact / manifests.MANIFEST)
    run = json.loads(json.dumps({"artifact": identity, "prompt": prompt.as_json()}))
    found = _found(images)
    for note in prompt.notes():
        _say(f"sam3port: {note}")
    if "seed" in manifest.weights:
        _say("sam3port: the artifact's weights come from a seed, not from a checkpoint: masks and scores mean nothing")
    shards = Shards(Folder(out if is_uri(out) else os.path.abspath(out)), prompt.categories, run)  # noqa: PTH100
    if address == HERE:
        address = os.environ.get(_ENVIRONMENT) or LOCAL
    with _alone(shards):
        shards.begin(resume)
        work, before = listing.pending(found, shards)
        counted = _Counted(len(found), before)
        if len(work):
            with connected(address):
                for row in job.segment(listing.cut(work, shard), shards, artifact, identity, prompt.answer, threads):
                    counted.add(row, job.nodes())
        with writing(shards.folder):
            shards.mend()
        if missing := listing.missing(found, shards):
            problem = f"{len(missing)} pictures have no result in {shards}: {missing[0]}, ..."
            raise Sam3PortError(problem, "go on with --resume")
    return _report(counted, shards, artifact, prompt, as_json)


def _found(images: Sequence[str]) -> Listing:
    """The pictures, once each: URIs by what lies there, the others as without ``--ray``."""
    from sam3port.batch.listing import Listing, add_uri
    from sam3port.batch.storage import is_uri
    from sam3port.cli.segment.images import sources, suffixes

    found, skipped = Listing(), list[str]()
    for place in dict.fromkeys(image for image in images if is_uri(image)):
        add_uri(found, place, suffixes(), skipped)
    paths = sources(image for image in images if not is_uri(image))
    for source in paths.pictures:
        _add(found, source)
    if note := paths.skipped_note():
        _say(f"sam3port: {note}")
    if skipped:
        _say(f"sam3port: {len(skipped)} files are skipped, no pictures that can be read here: {skipped[0]}, ...")
    return found.once()


def _add(found: Listing, source: Source) -> None:
    path, problem, size, changed = os.path.abspath(source.file), source.problem, 0, None  # noqa: PTH100
    try:
        path.encode()
    except UnicodeEncodeError:  # as Parquet needs it
        path = os.fsencode(path).decode(errors="backslashreplace")
        problem = f"{path} has a name that is not UTF-8"
    if problem is None:
        try:
            status = source.file.stat()
            size, changed = status.st_size, status.st_mtime_ns
        except OSError as error:
            problem = f"{path} cannot be read: {error.strerror}"
    found.add(path, "", path, size, changed, problem)


@contextlib.contextmanager
def _alone(shards: Shards) -> Iterator[None]:
    """No other run writes into a folder on a disk meanwhile; on an object store nobody can tell.

    Raises:
        UsageError: one does; the folder cannot be written to.
    """
    from sam3port.batch.shards import writing

    folder = shards.folder.local
    if folder is None:
        yield
        return
    with only_run(folder, lambda: writing(shards.folder)):
        yield


def _report(counted: _Counted, shards: Shards, artifact: Path, prompt: Prompt, as_json: bool) -> int:
    if as_json:
        content = {
            "artifact": str(artifact),
            "prompt": prompt.as_json(),
            "pictures": counted.pictures,
            "done_before": counted.before,
            "failed": counted.failed,
            "noted": counted.noted,
            "objects": counted.objects,
            "out": str(shards),
        }
        click.echo(json.dumps(content, indent=2, allow_nan=False))
    else:
        if counted.before:
            click.echo(f"{counted.before} of {counted.pictures} pictures were done before")
        if counted.failed:
            click.echo(f"{counted.failed} of {counted.pictures} pictures could not be used")
        if counted.noted:
            click.echo(f"{counted.noted} of {counted.pictures} pictures have notes, in the column notes")
        click.echo(f"{counted.objects} objects were found in {counted.done - counted.failed} pictures")
        click.echo(f"wrote {printable(shards)}")
    return 0 if not counted.failed else 2 if counted.failed == counted.pictures else 1


def _say(text: str) -> None:
    click.echo(printable(text), err=True)
