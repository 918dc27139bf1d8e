"""What a cluster does to a job: pictures that end the process, artifacts that travel, nodes that do not fit."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from PIL import Image
from ray import cloudpickle

from sam3port.artifact.hashes import sha256
from sam3port.artifact.manifest import MANIFEST
from sam3port.batch import job, listing, travel
from sam3port.batch.connect import connected
from sam3port.batch.shards import Shards
from sam3port.batch.storage import Folder
from sam3port.errors import UsageError
from tests.batch.conftest import pictures

KILLER = (1, 2, 3)
"""The colour of a picture that ends the process."""


def ask(model: Any, pixels: Any) -> Any:
    assert "torch" not in sys.modules  # neither Ray nor TVM brings it, though it is installed
    if tuple(pixels[0, 0]) == KILLER:
        os._exit(1)
    return model.encode_image(pixels).segment("bus", threshold=0.3)


@pytest.fixture(scope="module")
def driver(cluster: Any) -> Iterator[None]:
    """This process is connected. What is asked travels whole: the nodes do not have the tests."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with connected(cluster.address):
        yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def work(folder: Path, out: Shards, most: int) -> list[Any]:
    found = listing.Listing()
    for file in sorted(folder.iterdir()):
        found.add(str(file), "", str(file), file.stat().st_size, file.stat().st_mtime_ns)
    return listing.cut(listing.pending(found, out)[0], most)


@pytest.mark.usefixtures("driver")
def test_a_picture_that_ends_the_process_is_left_out(tiny_artifact: Path, tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", 5)
    Image.new("RGB", (60, 40), KILLER).save(photos / "003.png")
    out = Shards(Folder(str(tmp_path / "out")), ("bus",), {"artifact": "0"})
    out.begin(resume=False)
    identity = sha256(tiny_artifact / MANIFEST)
    (row,) = job.segment(work(photos, out, 8), out, tiny_artifact, identity, ask, threads=1)
    assert (row["pictures"], len(row["failed"])) == (5, 1)
    assert "003.png: the process ended each time" in row["failed"][0]
    (name,) = out.names()
    results = out.read(name)
    assert results is not None
    assert [each is None for each in results["error"].to_pylist()] == [True, True, True, False, True]
    assert not list((tmp_path / "out" / "tries").iterdir())


@pytest.mark.usefixtures("driver")
def test_a_folder_that_nodes_do_not_share_is_refused(tiny_artifact: Path, tmp_path: Path) -> None:
    photos = pictures(tmp_path / "photos", 1)
    out = Shards(Folder(str(tmp_path / "out")), ("bus",), {"artifact": "0"})
    with pytest.raises(UsageError, match="is another folder than on the node"):
        list(job.segment(work(photos, out, 8), out, tiny_artifact, "0", ask, threads=1))
    with pytest.raises(UsageError, match="no node of the cluster has 64 CPUs"):
        list(job.segment(work(photos, out, 8), out, tiny_artifact, "0", ask, threads=64))


@pytest.mark.usefixtures("driver")
def test_the_artifact_travels_once(tiny_artifact: Path, tmp_path: Path) -> None:
    """To a node that does not have it at that place, into its cache."""
    moved = tmp_path / "artifact"
    moved.symlink_to(tiny_artifact)
    carried = travel.artifact(moved, sha256(moved / MANIFEST))
    assert carried.here() == tiny_artifact.resolve()

    @ray.remote(num_cpus=0)
    def fetched() -> tuple[str, int]:
        os.environ["SAM3PORT_CACHE"] = str(tmp_path / "cache")
        place = travel.Artifact("/nowhere", carried.identity, carried.depot).here()
        return str(place), (place / MANIFEST).stat().st_ino

    there = ray.get([fetched.remote() for _ in range(2)])
    assert len(set(there)) == 1
    place = Path(there[0][0])
    assert place.is_relative_to(tmp_path / "cache")
    files = {file.relative_to(tiny_artifact): file for file in tiny_artifact.rglob("*") if file.is_file()}
    assert {file.relative_to(place): file.read_bytes() for file in place.rglob("*") if file.is_file()} == {
        name: file.read_bytes() for name, file in files.items()
    }
    with pytest.raises(ray.exceptions.RayTaskError, match="was changed while it was copied"):
        ray.get(_stale.remote(carried.depot, str(tmp_path / "other")))


@ray.remote(num_cpus=0)
def _stale(depot: Any, cache: str) -> None:
    os.environ["SAM3PORT_CACHE"] = cache
    travel.Artifact("/nowhere", "0" * 64, depot).here()


def test_no_cluster_there() -> None:
    for address, problem in (("ray://10.0.0.1:10001", "interactive work"), ("127.0.0.1:1", "there is no Ray at")):
        with pytest.raises(UsageError, match=problem), connected(address):
            raise AssertionError
