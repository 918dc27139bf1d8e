"""Real measurements: MetaSchedule's builder and runners, here and by RPC, in processes of their own."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import tvm
import tvm_ffi
from tvm import s_tir

from sam3port.errors import UsageError
from sam3port.kernels.cpu.workloads.workload import LinearWork
from sam3port.tuning.devices import Devices, find_devices
from sam3port.tuning.measure import Meter
from tests.conftest import clean_environment
from tests.kernels.running import CPU, HOST

pytest.importorskip("cloudpickle")
pytest.importorskip("tornado")

WORK = LinearWork(64, 48, 400, ("add_vector",))
KEY = "sam3port-test"


def test_a_trace_cannot_bring_back_a_generated_kernel() -> None:
    """Why MetaSchedule's own search and database are not used. If this fails, they may do now."""
    default, *_, other = WORK.schedules(CPU)
    usual, made = (
        tvm.IRModule({"main": WORK.function(CPU, each).with_attr("global_symbol", "main")}) for each in (default, other)
    )
    again = s_tir.Schedule(usual)
    s_tir.Schedule(made).trace.apply_to_schedule(again, remove_postproc=False)
    assert tvm_ffi.structural_equal(again.mod, usual)
    assert not tvm_ffi.structural_equal(again.mod, made)


def check(meter: Meter, rounds: int = 3) -> None:
    _, good, *_, other = WORK.schedules(CPU)
    results = list(meter.measure(WORK, [good, other], rounds=rounds, min_ms=2))
    assert [result.schedule for result in results] == [good, other]
    for result in results:
        assert result.problem == ""
        assert result.seconds is not None and result.default_s is not None and result.ratio is not None
        assert 1e-7 < result.seconds < 1 and 1e-7 < result.default_s < 1
        assert 0 < result.ratio < float("inf")
        assert result.rounds == rounds


def test_pairs_are_measured_here(tmp_path: Path) -> None:
    check(Meter(HOST, CPU, tmp_path, None, 1))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(log: Path, module: str, *words: str) -> subprocess.Popen[bytes]:
    with log.open("wb") as out:
        return subprocess.Popen(
            [sys.executable, "-m", f"tvm.exec.{module}", *words],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**clean_environment(), "TVM_NUM_THREADS": "1"},
            start_new_session=os.name == "posix",
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """With the processes that it started: TVM's own do not end with it."""
    import psutil

    started = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    for each in (process, *started):
        with suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a tracker with two servers of the key `KEY`."""
    logs = tmp_path_factory.mktemp("rpc")
    port = free_port()
    address = f"127.0.0.1:{port}"
    with ExitStack() as running:
        words = ("--host", "127.0.0.1", "--port", str(port), "--port-end", str(port + 1))
        running.callback(end, start(logs / "tracker.log", "rpc_tracker", *words))
        for number in range(2):
            own = free_port()
            words = ("--host", "127.0.0.1", "--tracker", address, "--key", KEY, "--port", str(own))
            server = start(logs / f"server{number}.log", "rpc_server", *words, "--port-end", str(own + 1))
            running.callback(end, server)
        deadline = time.monotonic() + 120
        while True:
            try:
                if find_devices(address, KEY).count == 2:
                    break
            except UsageError:
                pass
            if time.monotonic() > deadline:
                pytest.fail("\n".join(log.read_text() for log in logs.iterdir()))
            time.sleep(0.5)
        yield address


def test_pairs_are_measured_on_two_devices(tracker: str, tmp_path: Path) -> None:
    devices = find_devices(tracker, KEY)
    assert devices == Devices("127.0.0.1", int(tracker.split(":")[1]), KEY, 2)
    check(Meter(HOST, CPU, tmp_path, devices, 1))


def test_an_unknown_key_is_refused_with_those_that_there_are(tracker: str) -> None:
    with pytest.raises(UsageError, match=f"has no device other; it knows {KEY}"):
        find_devices(tracker, "other")


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:", "127.0.0.1:port", ":80", "127.0.0.1:70000"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"{address} is no address")):
        find_devices(address, KEY)


def test_something_else_that_listens_is_no_tracker() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        import threading

        def answer() -> None:
            for _ in range(2):
                connection, _ = server.accept()
                connection.sendall(b"SSH-2.0-something\r\n")
                connection.close()

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(UsageError, match="is no RPC tracker"):
            find_devices(f"127.0.0.1:{server.getsockname()[1]}", KEY)
