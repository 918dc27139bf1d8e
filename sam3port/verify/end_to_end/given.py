"""An artifact that is there already: which upstream with which weights it has to answer like."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam3port.errors import UsageError

if TYPE_CHECKING:
    from sam3port.artifact.manifest import Manifest
    from sam3port.build.request import BuildRequest


def request_of(
    folder: Path,
    asked: Mapping[str, Any],
    *,
    usual: Path | None = None,
    upstream: Path | None = None,
    disable: tuple[str, ...] = (),
) -> BuildRequest:
    """The request that makes an artifact like the one in ``folder``.

    Args:
        folder: the artifact.
        asked: what the user asked for by name; it has to be what the artifact says of itself. Keys: ``preset``,
            ``resolution``, ``target``, ``dtype``, ``seed``, ``checkpoint``, ``base``, ``points``, ``boxes``,
            ``prompts``.
        usual: the checkpoint where none is asked for by name, if the artifact was built from one.
        upstream: as in `BuildRequest`.
        disable: as in `BuildRequest`.

    Raises:
        UsageError: there is no artifact, or it is of something else than what is asked for, or of a checkpoint that
            is not given.
    """
    from sam3port.artifact.manifest import read
    from sam3port.build.fitting import fitted
    from sam3port.build.request import BuildRequest
    from sam3port.model.preset import preset

    manifest = read(folder)
    built: dict[str, Any] = {
        "preset": manifest.preset,
        "resolution": manifest.sizes.image_size,
        "target": manifest.target.name,
        "dtype": manifest.dtype,
        "seed": manifest.weights.get("seed"),
        **{name: getattr(manifest.capacity, name) for name in ("points", "boxes", "prompts")},
    }
    for name, value in asked.items():
        if name not in {*built, "checkpoint", "base"}:
            raise UsageError(f"--{name} says how to build, {folder} is built", "leave the option away")
        if name in built and value != built[name]:
            has = f"no {name}" if built[name] is None else f"the {name} {built[name]}"
            raise UsageError(f"{folder} was built with {has}, not {value}", "leave the option away, or build again")
    usual_size = preset(manifest.preset).image_size
    usual = _own_weights(manifest) or usual
    checkpoint = asked.get("checkpoint") or (usual if "checkpoint" in manifest.weights else None)
    request = BuildRequest(
        components=(),
        preset=manifest.preset,
        resolution=None if built["resolution"] == usual_size else built["resolution"],
        target=manifest.target.name,
        dtype=manifest.dtype,
        seed=built["seed"],
        checkpoint=checkpoint,
        base=asked.get("base"),
        capacity=manifest.capacity,
        upstream=upstream,
        disable=disable,
    )
    _same_weights(folder, manifest, request)
    _same_upstream(folder, manifest, request)
    return fitted(request)[0]


def _own_weights(manifest: Manifest) -> Path | None:
    """The weights that come with sam3port, if the artifact says that it has them: nobody has to say where they lie."""
    from sam3port.model.demo_weights import demo_weights

    file = demo_weights(manifest.preset)
    return file if file is not None and manifest.weights.get("checkpoint") == file.name else None


def _same_weights(folder: Path, manifest: Manifest, request: BuildRequest) -> None:
    from sam3port.build.keys import weights_identity

    built_from = manifest.weights.get("checkpoint")
    if (request.checkpoint is None) != (built_from is None):
        source = f"from the checkpoint {built_from}" if built_from else f"with the seed {request.seed}"
        raise UsageError(f"{folder} was built {source}", "give the checkpoint: --checkpoint FILE" if built_from else "")
    if request.checkpoint is None:
        return
    base = manifest.weights.get("base")
    if (request.base is None) != (base is None):
        remedy = f"give it, too: --base {base}" if base else "leave --base away"
        raise UsageError(f"{folder} was built with {f'the base {base}' if base else 'no base'}", remedy)
    if not request.checkpoint.exists():
        raise UsageError(f"{request.checkpoint} does not exist", "say where the checkpoint is: --checkpoint FILE")
    if weights_identity(request).rpartition(" ")[2] != manifest.weights.get("sha256"):
        raise UsageError(f"{folder} was built from another checkpoint than {request.checkpoint}", "give that one")


def _same_upstream(folder: Path, manifest: Manifest, request: BuildRequest) -> None:
    from sam3port.build.keys import upstream_identity
    from sam3port.patching.install import make_plan
    from sam3port.plugins import switched_off
    from sam3port.upstream.source import ensure

    ensure(request.upstream)
    now = upstream_identity(make_plan(request.upstream, switched_off(request.disable)))
    if now != manifest.upstream:
        raise UsageError(
            f"{folder} was built from upstream {manifest.upstream}, this is {now}", "build again, or give --upstream"
        )
