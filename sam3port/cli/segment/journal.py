"""What a run has done so far, kept so that another run can go on after it was killed, interrupted or had ended."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

from sam3port.cli.segment.described import Described
from sam3port.cli.segment.formats.coco import Run, coco, from_coco
from sam3port.cli.segment.output import writing
from sam3port.errors import UsageError
from sam3port.placing import replacing

JOURNAL: Final = ".segment.journal"
"""Each line is what ``annotations.json`` would be about one picture."""


class Journal:
    """The pictures that are done, by the names that `Described` has of their files; `open_journal` makes one."""

    def __init__(self, folder: Path, stream: IO[str], run: Run, done: dict[str, Described]) -> None:
        self._folder = folder
        self.run = run
        self.done = done
        self.told = False
        """Whether ``annotations.json`` says all that is here, so that it can go."""
        self._stream = stream

    def add(self, picture: Described) -> None:
        """A picture whose files are all there."""
        with writing(self._folder):
            self._stream.write(_line(picture, self.run))
            self._stream.flush()
        self.done[picture.file_name] = picture


@contextlib.contextmanager
def open_journal(folder: Path, annotations: Path, run: Run, resume: bool) -> Iterator[Journal]:
    """A journal in the folder of results.

    Args:
        folder: of results, which no other run writes to.
        annotations: where an earlier run's ``annotations.json`` may lie.
        run: what this run is asked.
        resume: takes over what is done; else the journal begins empty.

    Raises:
        UsageError: what is there was asked something else; the folder cannot be written to.
    """
    run = json.loads(json.dumps(run))  # as it is read again
    file = folder / JOURNAL
    done = _earlier(file, annotations, run) if resume else {}
    with writing(folder):
        with replacing(file) as lines:
            lines.writelines(_line(picture, run).encode() for picture in done.values())
        stream = file.open("a", encoding="utf-8")
    journal = Journal(folder, stream, run, done)
    try:
        yield journal
    finally:
        with contextlib.suppress(OSError):  # a full disk, which was said before
            stream.close()
        if journal.told or not journal.done:
            with contextlib.suppress(OSError):
                file.unlink()


def _earlier(file: Path, annotations: Path, run: Run) -> dict[str, Described]:
    contents = [*_read(annotations), *_read(file, lines=True)]
    found = [picture for content in contents for picture in from_coco(content, run)]
    if any(_asked(content) != run for content in contents):
        raise UsageError(
            f"the results in {annotations.parent} are of another prompt, artifact or form",
            "leave --resume out to replace them, or choose another --out",
        )
    return {picture.file_name: picture for picture in found}


def _read(file: Path, lines: bool = False) -> list[Any]:
    """What a file of JSON, or each of its lines, holds; without what is damaged: the end of a killed run may be cut."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    found = []
    for part in text.splitlines() if lines else [text]:
        with contextlib.suppress(ValueError):
            found.append(json.loads(part))
    return found


def _asked(content: Any) -> Any:
    try:
        return content["info"]["run"]
    except (KeyError, TypeError):
        return None


def _line(picture: Described, run: Run) -> str:
    return json.dumps(coco([picture], (), run, polygons=False)) + "\n"
