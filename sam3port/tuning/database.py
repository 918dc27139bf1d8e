"""A database of records: a text file, one record of JSON a line, to which lines are only ever added."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import filelock

from sam3port.errors import UsageError
from sam3port.tuning.record import FORMAT, Kind, Record

_WAIT_S: Final = 30.0


class Database:
    """A file; it need not exist before something is added. Several processes may add at once."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def records(self) -> list[Record]:
        """All records, in the order in which they were added; none if there is no file.

        A last line without its end is what a killed process left: it does not count.

        Raises:
            UsageError: a line is no record, or of a newer version's format.
        """
        try:
            text = self.file.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{self.file} cannot be read: {error}", "give another database, or --untuned") from None
        lines = text.split("\n")[:-1]
        return [self._record(line, number) for number, line in enumerate(lines, 1) if line.strip()]

    def best(self) -> list[Record]:
        """The outcome for each workload and machine: of several, the last."""
        found = {(r.workload, r.machine): r for r in self.records() if r.kind is Kind.BEST}
        return list(found.values())

    def add(self, record: Record) -> None:
        """Adds one record, whole or not at all.

        Raises:
            UsageError: the file cannot be written.
        """
        line = json.dumps(record.as_json(), separators=(",", ":"), sort_keys=True) + "\n"
        with self._locked(), self.file.open("rb+" if self.file.exists() else "wb+") as file:
            content = file.read()
            file.truncate(content.rfind(b"\n") + 1)  # what a killed process left
            file.seek(0, os.SEEK_END)
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())

    def check_writable(self) -> None:
        """
        Raises:
            UsageError: nothing could be added.
        """
        with self._locked(), self.file.open("ab"):
            pass

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(self.file.with_name(f".{self.file.name}.lock"), timeout=_WAIT_S):
                yield
        except filelock.Timeout:
            raise UsageError(f"{self.file} is locked by another process", "wait for it") from None
        except OSError as error:
            raise UsageError(f"{self.file} cannot be written: {error}", "give another --database") from None

    def _record(self, line: str, number: int) -> Record:
        try:
            content = json.loads(line)
            if content["format"] != FORMAT:
                raise UsageError(
                    f"line {number} of {self.file} has the format {content['format']}, this sam3port reads {FORMAT}",
                    "use the sam3port that wrote it, or another database",
                )
            return Record.from_json(content)
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"line {number} of {self.file} is no record of a schedule: {error!r}", "remove that line"
            ) from None
