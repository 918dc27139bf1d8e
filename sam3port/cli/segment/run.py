"""A run of ``sam3port segment``: every picture encoded, asked, and its results written.

While one picture is encoded and asked, the next one is read and the one before is written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sam3port.cli.segment.described import Described
from sam3port.cli.segment.images import Source
from sam3port.cli.segment.journal import Journal
from sam3port.cli.segment.notes import Notes, collected
from sam3port.cli.segment.outcome import Found, Outcome, found_in
from sam3port.cli.segment.output import Output
from sam3port.cli.segment.prompts import Prompt
from sam3port.errors import Sam3PortError
from sam3port.runtime import picture as pictures
from sam3port.runtime.features import digest_of

if TYPE_CHECKING:
    from sam3port.runtime.encoded import EncodedImage
    from sam3port.runtime.features import FeatureFolder, Features
    from sam3port.runtime.model import Model
    from sam3port.runtime.picture import Pixels, Prepared


class Watcher(Protocol):
    """Is told what happens."""

    def began(self, source: Source) -> None: ...

    def ended(self, outcome: Outcome) -> None: ...


def segment_all(
    model: Model,
    sources: Sequence[Source],
    prompt: Prompt,
    output: Output,
    journal: Journal,
    watcher: Watcher,
    folder: FeatureFolder | None = None,
) -> tuple[list[Outcome], Path | None]:
    """Goes through the pictures; one that cannot be used does not keep the others from it.

    Args:
        model: opened.
        sources: the pictures.
        prompt: checked, and within the model's capacity.
        output: where files go.
        journal: the pictures that an earlier run did, which are left as they are. Gets those of this one.
        watcher: is told what happens.
        folder: of the image encoder's results, which are read from there, or kept there.

    Returns:
        what became of each picture, and the file of annotations (None if no picture could be used).

    Raises:
        UsageError: results cannot be written. Those of earlier pictures, and their annotations, are there.
    """
    outcomes: list[Outcome] = []
    writing: Future[Outcome] | None = None

    def finish() -> None:
        nonlocal writing
        if writing is not None:
            outcome, writing = writing.result(), None
            outcomes.append(outcome)
            watcher.ended(outcome)

    with collected() as notes, ThreadPoolExecutor(1, "reader") as reader, ThreadPoolExecutor(1, "writer") as writer:
        steps = _Steps(model, prompt, output, journal, notes, folder)
        try:
            reading = None
            for index, source in enumerate(sources):
                watcher.began(source)
                read = (reading or reader.submit(steps.read, source)).result()
                following = sources[index + 1 : index + 2]
                reading = reader.submit(steps.read, following[0]) if following else None
                asked = steps.ask(read)
                finish()
                writing = writer.submit(steps.write, asked)
            finish()
        except BaseException:  # interrupted, or the disk is full: what is there is described all the same
            with contextlib.suppress(Exception):
                finish()
            with contextlib.suppress(Sam3PortError):
                _annotate(output, journal, sources, outcomes)
            raise
    return outcomes, _annotate(output, journal, sources, outcomes)


@dataclass
class _Kept:
    """The features of a picture: those of an earlier run, or those to be kept for another."""

    digest: str
    pixels: Pixels
    features: Features | None
    arrays: dict[str, Any] | None = None


@dataclass
class _Work:
    """A picture on its way."""

    outcome: Outcome
    size: int = 0
    changed: int = 0
    prepared: Prepared | None = None
    kept: _Kept | None = None
    large: Pixels | None = None
    """A picture that is to be cut into tiles."""
    found: Found | None = None


class _Steps:
    """What is done to each picture, each step in a thread of its own."""

    def __init__(
        self,
        model: Model,
        prompt: Prompt,
        output: Output,
        journal: Journal,
        notes: Notes,
        folder: FeatureFolder | None,
    ) -> None:
        self._model = model
        self._prompt = prompt
        self._output = output
        self._journal = journal
        self._notes = notes
        self._folder = folder

    def read(self, source: Source) -> _Work:
        work = _Work(Outcome(source))
        with self._faults(work):
            if source.problem is not None:
                raise Sam3PortError(source.problem)
            with contextlib.suppress(OSError):  # what cannot be read is said below
                status = source.file.stat()
                work.size, work.changed = status.st_size, status.st_mtime_ns
            if (earlier := self._earlier(work)) is not None:
                work.outcome.done_before, work.outcome.described = True, earlier
                work.outcome.files = self._output.files(source.name)
            else:
                self._prepare(work)
        return work

    def _prepare(self, work: _Work) -> None:
        source, model = work.outcome.source, self._model
        if self._prompt.tile is not None:
            with work.outcome.stage("reading"):
                work.large = pictures.read(source.file)
            return
        if self._folder is None:
            with work.outcome.stage("reading"):
                work.prepared = model.prepare(source.file)
            return
        with work.outcome.stage("reading"):
            pixels = pictures.read(source.file)
        with work.outcome.stage("features"):
            digest = digest_of(pixels)
            found = self._folder.get(digest, model.identity, model.feature_specs)
        work.kept = _Kept(digest, pixels, found)
        work.outcome.features_known = found is not None
        if found is None:
            with work.outcome.stage("reading"):
                work.prepared = model.prepare(pixels)

    def ask(self, work: _Work) -> _Work:
        if work.large is not None:
            with self._faults(work), work.outcome.stage("tiles"):
                large = self._prompt.ask_large(self._model, work.large)
                work.found, work.outcome.best_below = found_in(large), large.best_below
            work.large = None
        if work.prepared is not None or work.kept is not None:
            with self._faults(work):
                image = self._encoded(work)
                with work.outcome.stage("prompt"):
                    answer = self._prompt.ask(image)
                work.found = found_in(answer)
                work.outcome.best_below = getattr(answer, "best_below", None)
            work.prepared = None
        return work

    def _encoded(self, work: _Work) -> EncodedImage:
        kept = work.kept
        if kept is not None and kept.features is not None:
            with work.outcome.stage("features"):
                return self._model.encoded(kept.pixels, kept.features)
        assert work.prepared is not None
        with work.outcome.stage("encoding"):
            image = self._model.encode_image(work.prepared)
        if kept is not None:
            with work.outcome.stage("features"):
                kept.arrays = image.arrays()
        return image

    def write(self, work: _Work) -> Outcome:
        outcome, kept = work.outcome, work.kept
        if self._folder is not None and kept is not None and kept.arrays is not None:
            with outcome.stage("features"):
                self._folder.put(kept.digest, self._model.identity, kept.arrays)
            kept.arrays = None
        if work.found is not None:
            source = outcome.source
            height, width = work.found.answer.pixels.shape[:2]
            file_name = self._output.file_name(source.file)
            picture = Described(file_name, source.name, width, height, work.size, work.changed)
            try:
                self._output.write(work.found, picture, outcome)
                self._journal.add(picture)
                outcome.described = picture
            except MemoryError:
                outcome.error = _too_large(source.file)
        return outcome

    def _earlier(self, work: _Work) -> Described | None:
        """What an earlier run found in the same file."""
        source = work.outcome.source
        found = self._journal.done.get(self._output.file_name(source.file))
        if found is None or (found.name, found.size, found.changed) != (source.name, work.size, work.changed):
            return None
        return found if self._output.complete(found) else None

    @contextlib.contextmanager
    def _faults(self, work: _Work) -> Iterator[None]:
        """What goes wrong with a picture is part of its outcome."""
        file = work.outcome.source.file
        try:
            yield
        except MemoryError:
            work.outcome.error = _too_large(file)
        except Sam3PortError as error:
            named = str(file) in error.problem
            work.outcome.error = error if named else Sam3PortError(f"{file}: {error.problem}", error.remedy)
        work.outcome.notes += self._notes.take()


def _too_large(file: Path) -> Sam3PortError:
    return Sam3PortError(f"there is not enough memory for {file}", "make the picture smaller")


def _annotate(output: Output, journal: Journal, sources: Sequence[Source], outcomes: Sequence[Outcome]) -> Path | None:
    """Describes pictures of earlier runs that this one has nothing to do with, then its own, in its order."""
    reached = {outcome.source.name: outcome.described for outcome in outcomes}
    own = {output.file_name(source.file): source.name for source in sources}
    others = [each for each in journal.done.values() if each.file_name not in own and each.name not in own.values()]
    # Those that an interrupted run did not reach may have been done before.
    those = [reached.get(name) if name in reached else journal.done.get(file) for file, name in own.items()]
    pictures = [*others, *(each for each in those if each is not None)]
    if not pictures:
        return None
    file = output.write_run(pictures, journal.run)
    journal.told = True
    return file
