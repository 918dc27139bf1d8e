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
import contextlib, json, os, sys, threading, time, warnings
import tvm
from sam3port.kernels.cpu.formats.register_loops import multiply_add
from sam3port.machine.cpus import configure_threads
warnings.simplefilter("error")
asked = json.loads(sys.argv[1])
function = multiply_add(2, 4, 10_000_000).with_attr("global_symbol", "kernel")
kernel = tvm.compile(tvm.IRModule({"kernel": function}), target={"kind": "llvm"})["kernel"]
def ticks():
    spent = {}
    for each in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            spent[each] = int(open(f"/proc/self/task/{each}/stat").read().rpartition(")")[2].split()[11])
    return spent
def settled():
    # When nobody computes: the threads of an earlier pool look for work for a while before they sleep.
    there, until = ticks(), time.monotonic() + 20
    while time.monotonic() < until:
        time.sleep(0.1)
        before, there = there, ticks()
        if before == there:
            break
    return there
def compute(number):
    there = configure_threads(number)
    seeds, out = tvm.runtime.empty((2, 4), "float32"), tvm.runtime.empty((2, 48), "float32")
    before = settled()
    for _ in range(4):  # half a second each, in two halves
        kernel(seeds, out)
    spent = [after - before.get(each, 0) for each, after in ticks().items()]
    affinities = set()
    for each in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError):
            affinities.add(tuple(sorted(os.sched_getaffinity(int(each)))))
    said.append({"threads": there, "busy": sum(each > 0.2 * sum(spent) for each in spent), "cpus": sorted(affinities)})
said = []
for number in asked:
    thread = threading.Thread(target=compute, args=(number,))
    thread.start()
    thread.join()
print(json.dumps(said))
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinities on this system")


def ran(*asked: int | None, cpus: set[int] | None = None, **env: str) -> list[dict[str, Any]]:
    """What each of some threads of one process, one after the other, found when it had asked for so many."""
    environment = clean_environment()
    environment.pop("TVM_NUM_THREADS", None)
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(asked)],
        env={**environment, **env},
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=(lambda: os.sched_setaffinity(0, cpus)) if cpus else None,
    )
    assert process.returncode == 0, process.stderr
    content: list[dict[str, Any]] = json.loads(process.stdout)
    return content


two = pytest.mark.skipif(usable_cpus() < 2, reason="one CPU")


@two
def test_two_cpus_compute_in_every_thread_that_calls() -> None:
    """On two CPUs TVM alone would use one, and asked to use two it would use one and tie the process to it."""
    cpus = sorted(os.sched_getaffinity(0))
    found = ran(2, None)
    assert [each["threads"] for each in found] == [2, 2]
    assert [each["busy"] for each in found] == [2, 2], "who had a fifth of the work, by CPU time"
    assert [each["cpus"] for each in found] == [[cpus], [cpus]]


@two
def test_who_asks_for_one_thread_gets_one_and_the_others_get_theirs() -> None:
    cpus = set(sorted(os.sched_getaffinity(0))[:2])
    assert [(each["threads"], each["busy"]) for each in ran(1, None, 1, cpus=cpus)] == [(1, 1), (2, 2), (1, 1)]
    assert [(each["threads"], each["busy"]) for each in ran(None, TVM_NUM_THREADS="1")] == [(1, 1)]


def test_affinity_is_respected() -> None:
    """Not CPU 0, which TVM would take."""
    last = max(os.sched_getaffinity(0))
    (found,) = ran(None, cpus={last})
    assert (found["threads"], found["busy"], found["cpus"]) == (1, 1, [[last]])


def test_a_number_that_is_none_is_an_error_in_one_line() -> None:
    code = "from sam3port.machine.cpus import configure_threads; configure_threads()"
    environment = clean_environment(TVM_NUM_THREADS="many")
    process = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert "TVM_NUM_THREADS is 'many', which is no number" in process.stderr


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
