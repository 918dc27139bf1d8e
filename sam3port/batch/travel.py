"""How the artifact gets to the nodes: used where it lies if a node has it there, else copied to its disk, once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import filelock
import ray

from sam3port.artifact.hashes import sha256
from sam3port.artifact.manifest import MANIFEST
from sam3port.cache.places import cache_root, not_writable
from sam3port.errors import UsageError
from sam3port.placing import put_in_place

_PART: Final = 32 << 20
"""Bytes that travel at once."""


class Depot:
    """Hands out the files of a folder in parts; an actor on the node where they lie."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def files(self) -> list[tuple[str, int]]:
        """Their names within the folder, with slashes, and their bytes."""
        found = sorted(path for path in self._folder.rglob("*") if path.is_file())
        return [(path.relative_to(self._folder).as_posix(), path.stat().st_size) for path in found]

    def part(self, name: str, start: int) -> bytes:
        """What a file holds from there on, at most `_PART`."""
        with (self._folder / name).open("rb") as stream:
            stream.seek(start)
            return stream.read(_PART)


@dataclass(frozen=True)
class Artifact:
    """An artifact that every node is to have."""

    folder: str
    """Where it lies on the node that the job was started on."""
    identity: str
    """The sha256 of its manifest."""
    depot: Any
    """A handle of a `Depot`."""

    def here(self) -> Path:
        """Its folder on this node.

        Raises:
            UsageError: it is not here, and there is no room for it in the user's cache.
        """
        folder = Path(self.folder)
        try:
            if sha256(folder / MANIFEST) == self.identity:
                return folder
        except OSError:
            pass
        return self.fetched()

    def fetched(self) -> Path:
        """A copy in this node's cache; the first who asks fetches it, the others wait."""
        folder = cache_root() / "artifacts" / f"carried-{self.identity[:16]}"
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(folder.with_suffix(".lock")):
                if not folder.exists():
                    self._fetch(folder)
        except OSError as error:
            raise not_writable(folder, error) from None
        return folder

    def _fetch(self, folder: Path) -> None:
        with put_in_place(folder) as aside:
            for name, size in ray.get(self.depot.files.remote()):
                file = aside / name
                file.parent.mkdir(parents=True, exist_ok=True)
                with file.open("wb") as stream:
                    for part in self._parts(name, size):
                        stream.write(part)
            if sha256(aside / MANIFEST) != self.identity:
                raise UsageError(f"the artifact {self.folder} was changed while it was copied", "start the job again")

    def _parts(self, name: str, size: int) -> Iterator[bytes]:
        for start in range(0, size, _PART):
            yield ray.get(self.depot.part.remote(name, start))


def artifact(folder: Path, identity: str) -> Artifact:
    """One that lies here, ready to travel in the job of the Ray that this process is connected to."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    depot = ray.remote(Depot).options(num_cpus=0, scheduling_strategy=here).remote(str(folder.resolve()))
    return Artifact(str(folder.resolve()), identity, depot)
