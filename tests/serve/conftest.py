"""A server about the real tiny artifact: within the test's process, or as the command."""

from __future__ import annotations

import contextlib
import io
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from sam3port.runtime.model import Model, load
from sam3port.serve.app import PAGE, application
from sam3port.serve.label_studio import Source
from sam3port.serve.limits import Limits
from sam3port.serve.service import Service
from tests.conftest import clean_environment

EXAMPLE = PAGE / "example.jpg"
MANY = replace(Limits(), rate=0)
Serving = Callable[..., contextlib.AbstractContextManager[str]]


@pytest.fixture(scope="session")
def model(tiny_artifact: Path) -> Model:
    return load(tiny_artifact)


@contextlib.contextmanager
def client_of(
    model: Model, limits: Limits = MANY, token: str | None = None, labels_from: Source | None = None, **given: Any
) -> Iterator[TestClient]:
    """A client whose server ends with it."""
    app = application(Service(model, limits, **given), token, labels_from)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def client(model: Model) -> Iterator[TestClient]:
    with client_of(model) as client:
        yield client


def png(seed: int, width: int = 90, height: int = 60) -> bytes:
    """A picture of its own for each seed."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).save(stream, "PNG")
    return stream.getvalue()


def ready(client: Any, content: bytes) -> dict[str, Any]:
    """The picture, encoded."""
    sent = client.post("/v1/images", content=content)
    assert sent.status_code == 201, sent.text
    about: dict[str, Any] = client.get(f"/v1/images/{sent.json()['id']}", params={"wait": 30}).json()
    assert about["state"] == "ready", about
    return about


class Server:
    """``sam3port serve`` as a process."""

    def __init__(self, artifact: Path, *options: str, port: int = 0, **environment: str) -> None:
        command = [
            sys.executable,
            "-m",
            "sam3port",
            "serve",
            "--artifact",
            str(artifact),
            "--port",
            str(port),
            *options,
        ]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdout=pipe, stderr=pipe, text=True, env=clean_environment(PYTHONUNBUFFERED="1", **environment)
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"http://\S+", line)
        if found is None:
            self.process.kill()
            raise AssertionError(line + self.process.communicate()[1])
        self.url = found[0]
        self.port = int(self.url.rstrip("/").rpartition(":")[2])

    def stop(self) -> tuple[int, str]:
        """As Ctrl-C: its status and what it said."""
        self.process.send_signal(signal.SIGINT)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


@pytest.fixture(scope="module")
def server(tiny_artifact: Path) -> Iterator[Server]:
    running = Server(tiny_artifact, "--rate", "0")
    yield running
    running.stop()
