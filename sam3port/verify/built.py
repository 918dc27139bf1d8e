"""What an earlier ``sam3port build --out DIR`` left: which request made it, and whether that is what is asked for."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sam3port.artifact.interface import Capacity
from sam3port.build.request import TARGET_OPTIONS, BuildRequest, known_components
from sam3port.compiler.stage import RECORD
from sam3port.errors import UsageError

if TYPE_CHECKING:
    from sam3port.components.component import Component
    from sam3port.model.preset import Preset

_SHARED: Final = (
    *("preset", "resolution", "target", "target_options", "dtype"),
    *("weights", "capacity", "upstream", "patches"),
)
"""What all components of a folder have to agree on to be verified at once."""


def request_of(
    folder: Path,
    names: Iterable[str],
    asked: Mapping[str, Any],
    *,
    upstream: Path | None = None,
    disable: tuple[str, ...] = (),
) -> BuildRequest:
    """The request that made the components in ``folder``.

    Args:
        folder: holds a folder for each component.
        names: the components wanted; none means all that are there.
        asked: what the user asked for by name; it has to be what was built. Keys: ``preset``, ``resolution``,
            ``target``, ``dtype``, ``mcpu``, ``triple``, ``arch``, ``seed``, ``checkpoint``, ``base``, ``points``,
            ``boxes``, ``prompts``.
        upstream: as in `BuildRequest`.
        disable: as in `BuildRequest`.

    Raises:
        UsageError: nothing was built there, or something else than what is asked for.
    """
    from sam3port.build.runner import read_record

    there = sorted(file.parent.name for file in folder.glob(f"*/{RECORD}"))
    if not there:
        raise UsageError(
            f"{folder} holds no built components", "name those to build: sam3port build COMPONENT... --out DIR"
        )
    if missing := [name for name in names if name not in there]:
        raise UsageError(f"{folder} does not hold {', '.join(missing)}", f"it holds {', '.join(there)}")
    chosen = tuple(known_components(disable, tuple(names) or tuple(there)))
    records = {name: read_record(folder / name) for name in chosen}
    shared = _agreed(folder, records)
    request = _request(folder, chosen, shared, asked, upstream, disable)
    for name, record in records.items():
        _same_interface(folder / name, request.component(name), request.sizes(), record)
    _same_source(folder, request, shared)
    return request


def _agreed(folder: Path, records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    first, *others = records
    for name in others:
        for what in _SHARED:
            if records[name].get(what) != records[first].get(what):
                raise UsageError(
                    f"{folder} holds different builds: {first} and {name} differ in {what}",
                    "name the components to verify, or build all of them again",
                )
    for name, record in records.items():
        if "compile" not in record["stages"]:
            raise UsageError(f"{folder / name} was not built to the end", "build it without --until")
    return {what: records[first][what] for what in _SHARED}


def _request(
    folder: Path,
    names: tuple[str, ...],
    shared: Mapping[str, Any],
    asked: Mapping[str, Any],
    upstream: Path | None,
    disable: tuple[str, ...],
) -> BuildRequest:
    weights, capacity = shared["weights"], shared["capacity"]
    built = {**{key: shared[key] for key in ("preset", "resolution", "target", "dtype")}, **capacity}
    options = dict(shared["target_options"])
    built |= {name: options.get(name) for name in TARGET_OPTIONS}
    built |= {name: weights.get(name) for name in ("seed", "checkpoint", "base")}
    for name, value in asked.items():
        # A checkpoint may have moved: what counts is its content, which the comparison is about.
        if name in ("checkpoint", "base") and built[name] is not None:
            continue
        if value != built[name]:
            has = f"no {name}" if built[name] is None else f"the {name} {built[name]}"
            raise UsageError(f"{folder} was built with {has}, not {value}", "leave the option away, or build again")
    checkpoint, base = (asked.get(name) or built[name] for name in ("checkpoint", "base"))
    if checkpoint is not None and not Path(checkpoint).exists():
        raise UsageError(f"{folder} was built from {checkpoint}, which is not there", "say where it is: --checkpoint")
    from sam3port.model.preset import Traits, preset

    usual = preset(built["preset"], None).image_size
    return BuildRequest(
        components=names,
        preset=built["preset"],
        resolution=None if built["resolution"] == usual else built["resolution"],
        target=built["target"],
        dtype=built["dtype"],
        target_options=options,
        seed=built["seed"] if checkpoint is None else None,
        checkpoint=None if checkpoint is None else Path(checkpoint),
        base=None if base is None else Path(base),
        traits=Traits(**weights.get("traits", {})),
        capacity=Capacity(**capacity),
        upstream=upstream,
        disable=disable,
    )


def _same_interface(folder: Path, component: Component, sizes: Preset, record: Mapping[str, Any]) -> None:
    def tensors(specs: Iterable[Mapping[str, Any]]) -> list[tuple[str, list[int], str]]:
        return [(spec["name"], list(spec["shape"]), spec["dtype"]) for spec in specs]

    for what, declared in (("inputs", component.inputs(sizes)), ("outputs", component.outputs(sizes))):
        built, now = tensors(record[what]), tensors(map(dataclasses.asdict, declared))
        # The order of outputs is for the numbers to show.
        if sorted(built) != sorted(now) or (what == "inputs" and built != now):
            differing = [tensor for tensor in built if tensor not in now] or [t for t in now if t not in built] or built
            raise UsageError(
                f"{folder} was built with other {what} than {component.name} declares now: {differing[0]}",
                "build it again",
            )


def _same_source(folder: Path, request: BuildRequest, shared: Mapping[str, Any]) -> None:
    """The port and its reference have to be made of the same upstream, with the patches that are on now."""
    from sam3port.build.keys import upstream_identity
    from sam3port.patching.install import make_plan
    from sam3port.plugins import switched_off
    from sam3port.upstream.source import ensure

    ensure(request.upstream)
    plan = make_plan(request.upstream, switched_off(request.disable))
    if (now := upstream_identity(plan)) != shared["upstream"]:
        raise UsageError(
            f"{folder} was built from upstream {shared['upstream']}, this is {now}", "build again, or give --upstream"
        )
    on = {patch.name for patch in plan.patches}
    if on != set(shared["patches"]):
        extra, absent = sorted(on - set(shared["patches"])), sorted(set(shared["patches"]) - on)
        parts = [f"{text} {', '.join(p)}" for text, p in (("without the patches", extra), ("with", absent)) if p]
        switch = f", or give --disable {','.join(extra)}" if extra else ""
        raise UsageError(f"{folder} was built {' and '.join(parts)}", f"build again{switch}")


def is_current(folder: Path, request: BuildRequest) -> bool:
    """Whether a build now would make exactly what lies in ``folder``."""
    from sam3port.build.keys import stage_keys
    from sam3port.patching.install import make_plan
    from sam3port.plugins import switched_off

    keys = stage_keys(request, make_plan(request.upstream, switched_off(request.disable)))
    for name, expected in keys.items():
        record = json.loads((folder / name / RECORD).read_text(encoding="utf-8"))
        if any(record["stages"][stage]["key"] != key for stage, key in expected.items()):
            return False
    return True
