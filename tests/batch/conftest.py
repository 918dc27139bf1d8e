"""A real Ray cluster of several nodes on this machine, small pictures, and the command as a process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import clean_environment

try:
    import ray
    from ray.cluster_utils import Cluster
except ImportError:
    ray = None

STORE = 80 * 2**20
"""Bytes of each node's object store, the least that Ray takes."""
PATIENCE = 120


def _need_ray() -> None:
    if ray is None:
        missing = "Ray is not installed here"
        if os.environ.get("SAM3PORT_REQUIRE_RAY") == "1":
            pytest.fail(f"{missing}, and SAM3PORT_REQUIRE_RAY=1 asks for it", pytrace=False)
        pytest.skip(f"{missing}: pip install 'sam3port[ray]'")


@pytest.fixture(scope="session", autouse=True)
def _with_ray() -> None:
    _need_ray()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """A head node with one CPU; tests add others, and remove them."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # A node that does not answer is dead after four seconds, not after 15.
    health = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000, "health_check_failure_threshold": 4}
    head = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False, "_system_config": health}
    running = Cluster(initialize_head=True, head_node_args=head)
    yield running
    running.shutdown()


@pytest.fixture
def second(cluster: Any) -> Iterator[Any]:
    """Another node with one CPU, gone after the test at the latest."""
    node = cluster.add_node(num_cpus=1, object_store_memory=STORE)
    yield node
    if node in cluster.list_all_nodes():
        cluster.remove_node(node)


def pictures(folder: Path, count: int) -> Path:
    """A folder with small pictures, each another one."""
    folder.mkdir()
    for number in range(count):
        small = np.random.default_rng(number).integers(0, 256, (4, 6, 3), np.uint8)
        Image.fromarray(small).resize((60, 40), Image.Resampling.BICUBIC).save(folder / f"{number:03}.png")
    return folder


def command(artifact: Path, *words: str | Path) -> list[str]:
    return [sys.executable, "-m", "sam3port", "segment", *map(str, words), "--artifact", str(artifact)]


def start(artifact: Path, *words: str | Path, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """``sam3port segment`` as a process."""
    pipe = subprocess.PIPE
    given: dict[str, Any] = {"cwd": cwd, "env": clean_environment(**environment), "text": True}
    return subprocess.Popen(command(artifact, *words), stdout=pipe, stderr=pipe, **given)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Its status, and what it said."""
    out, err = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in err, err
    return process.returncode, out, err


def wait(condition: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    """Until the condition holds, as long as the process runs."""
    until = time.monotonic() + PATIENCE
    while not condition():
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            raise AssertionError(process.communicate())
        time.sleep(0.05)
