"""The report of ``sam3port demo``: whether it still holds, and as a short table."""

from __future__ import annotations

import hashlib
import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sam3port.build.closure import PACKAGE, closure, files_of
from sam3port.placing import replacing

if TYPE_CHECKING:
    from rich.table import Table

_REPORT: Final = "verification_report.json"
_SEAL: Final = "verified.sha256"
_DECIDES: Final = ("verify", "build", "components", "compiler", "targets", "replacements", "stubs")
"""Of our own packages those that decide, with all that they import and with the patches, how a proof comes out."""


class Parity:
    """The proof in a folder, and what it was about."""

    def __init__(self, folder: Path, artifact: Path, preset: str) -> None:
        self.folder = folder
        self._artifact = artifact
        self._preset = preset

    def known(self) -> bool:
        """Whether the proof was made of exactly this artifact, by exactly this sam3port, and passed."""
        try:
            return (self.folder / _SEAL).read_text(encoding="utf-8") == self._state()
        except (OSError, UnicodeDecodeError):
            return False

    def remember(self) -> None:
        """Call it when the proof passed."""
        with replacing(self.folder / _SEAL) as stream:
            stream.write(self._state().encode())

    def forget(self) -> None:
        """Before a new proof begins."""
        (self.folder / _SEAL).unlink(missing_ok=True)

    def table(self) -> tuple[Table, bool]:
        """A row for each component, and whether all passed."""
        from rich.table import Table
        from rich.text import Text

        content = json.loads((self.folder / _REPORT).read_bytes())
        table = Table(title=f"parity with upstream, {self._preset}", title_justify="left")
        table.add_column("component")
        table.add_column("")
        for heading in ("comparisons", "max abs", "max rel", "within 1e-5", "ratio to float64"):
            table.add_column(heading, justify="right")
        rows: dict[str, list[dict[str, Any]]] = {}
        for result in content["outputs"]:
            rows.setdefault(result["component"], []).append(result)
        for name, results in rows.items():
            passed = all(result["passed"] for result in results)
            table.add_row(
                name,
                Text("pass", style="green") if passed else Text("FAIL", style="bold red"),
                str(sum(len(result["cases"]) for result in results)),
                f"{_largest(results, 'max_absolute'):.2e}",
                f"{_largest(results, 'max_relative'):.2e}",
                f"{min(float(result['share_within_1e-5']) for result in results):.2%}",
                f"{_largest(results, 'ratio_to_float64'):.2f}",
            )
        return table, bool(content["passed"])

    def _state(self) -> str:
        """A hash of the artifact's description (it has every file's), of the report and of our source."""
        sources = files_of(closure(*(f"{PACKAGE}.{name}" for name in _DECIDES))).values()
        patches = sorted(
            file
            for folder in importlib.import_module("sam3port.patches").__path__
            for file in Path(folder).glob("*.py")
        )
        digest = hashlib.sha256()
        for file in (self._artifact / "manifest.json", self.folder / _REPORT, *sources, *patches):
            content = file.read_bytes()
            digest.update(f"{len(content)} ".encode() + content)
        return digest.hexdigest()


def _largest(results: list[dict[str, Any]], what: str) -> float:
    return max(float(result[what]) for result in results)
