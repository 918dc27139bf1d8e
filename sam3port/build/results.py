"""What stages left, for one build: found in the store or in the build's own folder, and put in place whole."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sam3port
from sam3port.build.keys import upstream_identity
from sam3port.build.request import BuildRequest
from sam3port.cache.store import Store, link
from sam3port.compiler.stage import EXPORTED, RECORD, Stage
from sam3port.placing import put_in_place, recover

if TYPE_CHECKING:
    from sam3port.patching.plan import Plan

_ENTRY: Final = "entry.json"
"""In the store, beside a stage's files: how long it took and when."""


class Results:
    """The results of one build's stages."""

    def __init__(
        self, request: BuildRequest, plan: Plan, keys: dict[str, dict[Stage, str]], out: Path | None, store: Store
    ) -> None:
        """
        Args:
            request: what is built.
            plan: the patches that upstream goes through.
            keys: of each stage of each component that is to be built.
            out: gets a folder for each component; None: they are only kept in the store.
            store: keeps results by key.
        """
        self.request, self.keys, self.out = request, keys, out
        self._plan, self._store = plan, store
        self._entries: dict[tuple[str, Stage], Path] = {}
        self._writing: dict[tuple[str, Stage], Path] = {}
        self._placed: set[str] = set()

    def look(self) -> list[tuple[str, Stage]]:
        """Finds what earlier builds left.

        Returns:
            The component and the stage of everything found.
        """
        for name, keys in self.keys.items():
            if self.out is not None:
                recover(self.out / name)
            for stage, key in keys.items():
                entry = self._store.find(key) or self._adopt(name, stage, key)
                if entry is not None:
                    self._entries[name, stage] = entry
        return list(self._entries)

    def _adopt(self, name: str, stage: Stage, key: str) -> Path | None:
        """What an earlier build left in the folder of ``name``, when it is just what this one wants."""
        if self.out is None:
            return None
        folder = self.out / name
        try:
            left = json.loads((folder / RECORD).read_text(encoding="utf-8"))["stages"][stage]
            whole = left["key"] == key and all((folder / f).stat().st_size == n for f, n in left["files"].items())
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if not whole:
            return None
        new = self._store.begin()
        for file in left["files"]:
            link(folder / file, new / file)
        _write_entry(new, left["seconds"], left["memory"])
        return self._store.commit(new, key)

    def missing(self) -> dict[str, list[Stage]]:
        """The stages that have to run, by component."""
        found = {name: [s for s in keys if (name, s) not in self._entries] for name, keys in self.keys.items()}
        return {name: stages for name, stages in found.items() if stages}

    def has(self, name: str, stage: Stage) -> bool:
        """Whether the result of a stage is there."""
        return (name, stage) in self._entries

    def folders(self, name: str) -> dict[Stage, str]:
        """Where the results of a component lie."""
        return {stage: str(entry) for (owner, stage), entry in self._entries.items() if owner == name}

    def folder(self, name: str, stage: Stage) -> Path:
        """Where the result of a stage lies."""
        return self._entries[name, stage]

    def exported_bytes(self, name: str) -> int:
        """How large the exported program is, 0 before there is one: a measure of the memory that the rest takes."""
        entry = self._entries.get((name, Stage.EXPORT))
        return (entry / EXPORTED).stat().st_size if entry is not None else 0

    @property
    def store(self) -> Store:
        """What keeps results."""
        return self._store

    def room(self) -> int:
        """Bytes that are free where results are written."""
        return shutil.disk_usage(self._store.root).free

    def begin(self, name: str, stage: Stage) -> str:
        """A folder for the files of a stage that is about to run."""
        self._writing[name, stage] = self._store.begin()
        return str(self._writing[name, stage])

    def commit(self, name: str, stage: Stage, seconds: float, memory: int) -> None:
        """The files are there. When it was the component's last stage, the component appears in its place."""
        folder = self._writing.pop((name, stage))
        _write_entry(folder, seconds, memory)
        self._entries[name, stage] = self._store.commit(folder, self.keys[name][stage])
        self._place_if_complete(name)

    def finish(self) -> None:
        """Puts in place what was complete from the start, and removes what stages left that did not end."""
        for folder in self._writing.values():
            shutil.rmtree(folder, ignore_errors=True)
        for name in self.keys:
            self._place_if_complete(name)

    def _place_if_complete(self, name: str) -> None:
        if self.out is None or name in self._placed or not all(self.has(name, stage) for stage in self.keys[name]):
            return
        self._placed.add(name)
        with put_in_place(self.out / name, flush=False) as new:
            stages = {}
            for stage, key in self.keys[name].items():
                entry = self._entries[name, stage]
                sizes = {f.name: f.stat().st_size for f in sorted(entry.iterdir()) if f.name != _ENTRY}
                for file in sizes:
                    link(entry / file, new / file)
                took = json.loads((entry / _ENTRY).read_text(encoding="utf-8"))
                stages[str(stage)] = {"key": key, "files": sizes, **took}
            record = {**self._record(name), "stages": stages}
            (new / RECORD).write_text(json.dumps(record, indent=2), encoding="utf-8")

    def _record(self, name: str) -> dict[str, Any]:
        request, component, sizes = self.request, self.request.component(name), self.request.sizes()
        weights: dict[str, Any] = {"seed": request.seed}
        if request.checkpoint is not None:
            weights = {
                "checkpoint": str(request.checkpoint),
                "base": str(request.base) if request.base else None,
                "traits": dataclasses.asdict(request.traits),
            }
        return {
            "component": name,
            "sam3port": sam3port.__version__,
            "preset": request.preset,
            "resolution": sizes.image_size,
            "target": request.target,
            "target_options": request.target_options,
            "device": request.build_target().device,
            "dtype": request.dtype,
            "weights": weights,
            "capacity": dataclasses.asdict(request.capacity),
            "upstream": upstream_identity(self._plan),
            "patches": [patch.name for patch in self._plan.patches],
            "inputs": [dataclasses.asdict(spec) for spec in component.inputs(sizes)],
            "outputs": [dataclasses.asdict(spec) for spec in component.outputs(sizes)],
        }


def _write_entry(folder: Path, seconds: float, memory: int) -> None:
    content = {"seconds": round(seconds, 3), "memory": memory, "made": round(time.time())}
    (folder / _ENTRY).write_text(json.dumps(content), encoding="utf-8")
