"""TVM computes on every CPU that the process may use, and leaves the process as it was. In fresh interpreters: a
thread's pool is made once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from sam3port.machine.cpus import quota, usable_cpus
from tests.conftest import clean_environment

PROGRAM = """
import json, os, sys, threading, warnings
from sam3port.machine.cpus import configure_threads
warnings.simplefilter("error")
asked = json.loads(sys.argv[1])
before = (sorted(os.sched_getaffinity(0)), dict(os.environ))
def pool():
    there = configure_threads(asked)
    import tvm
    from sam3port.bench.limit import _multiply_add
    function = _multiply_add(4, 4).with_attr("global_symbol", "kernel")
    kernel = tvm.compile(tvm.IRModule({"kernel": function}), target={"kind": "llvm"})["kernel"]
    kernel(tvm.runtime.empty((2, 4), "float32"), tvm.runtime.empty((4, 48), "float32"))
    affinities = {tuple(sorted(os.sched_getaffinity(int(each)))) for each in os.listdir("/proc/self/task")}
    busy = 0
    for each in os.listdir("/proc/self/task"):
        user = int(open(f"/proc/self/task/{each}/stat").read().rpartition(")")[2].split()[11])
        busy += user > 0
    said.append([there, busy, sorted(affinities)])
said = []
pool()
thread = threading.Thread(target=pool)
thread.start()
thread.join()
after = (sorted(os.sched_getaffinity(0)), dict(os.environ))
print(json.dumps({"said": said, "same": before == after}))
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinities on this system")


def ran(asked: int | None, cpus: set[int] | None = None, **env: str) -> dict[str, Any]:
    environment = {name: value for name, value in clean_environment(**env).items() if name != "TVM_NUM_THREADS" or env}
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(asked)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=(lambda: os.sched_setaffinity(0, cpus)) if cpus else None,
    )
    assert process.returncode == 0, process.stderr
    content: dict[str, Any] = json.loads(process.stdout)
    return content


@pytest.mark.skipif(usable_cpus() < 2, reason="one CPU")
def test_every_usable_cpu_computes_in_every_thread_that_calls() -> None:
    """On two CPUs TVM alone would use one, and asked to use two it would tie the process to the first."""
    found = ran(None)
    assert [each[0] for each in found["said"]] == [usable_cpus(), usable_cpus()]
    assert found["said"][0][1] >= usable_cpus()
    assert found["said"][0][2] == [sorted(os.sched_getaffinity(0))]
    assert found["same"]


def test_affinity_is_respected() -> None:
    """Not CPU 0, which TVM would take."""
    last = max(os.sched_getaffinity(0))
    found = ran(None, {last})
    assert [each[0] for each in found["said"]] == [1, 1]
    assert found["said"][0][2] == [[last]]


@pytest.mark.parametrize("asked", [None, 1])
def test_one_thread_can_be_asked_for(asked: int | None) -> None:
    found = ran(asked, TVM_NUM_THREADS="1") if asked is None else ran(asked)
    assert found["said"][0][0] == 1
    assert found["same"]


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("max 100000\n", None),
        ("200000 100000\n", 2.0),
        ("150000 100000", 1.5),
        ("", None),
        ("a b", None),
        ("1 0", None),
    ],
)
def test_quotas_of_control_groups(text: str, cpus: float | None) -> None:
    assert quota(text) == cpus
