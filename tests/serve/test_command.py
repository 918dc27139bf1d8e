"""``sam3port serve`` as a process: over real sockets, with clients that go away, and under load."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest
import uvicorn

from sam3port.runtime.model import Model
from sam3port.serve.app import application
from sam3port.serve.limits import Limits
from sam3port.serve.server import listen
from sam3port.serve.service import Service
from tests.cli.conftest import call
from tests.serve.conftest import Server, png, ready


def test_what_is_wrong_is_one_line(tiny_artifact: Path, tmp_path: Path) -> None:
    cases = (
        ("--artifact", str(tmp_path / "none"), "--port", "0"),
        ("--artifact", str(tiny_artifact), "--host", "0.0.0.0"),
    )
    for options in cases:
        ended = call("serve", *options, cwd=tmp_path)
        assert ended.returncode == 2
        assert "Traceback" not in ended.stderr
        assert ended.stdout == ""


def test_eight_clients_get_their_own_answers_and_memory_stays(server: Server) -> None:
    """Each client's answers are those that it gets alone."""
    process = psutil.Process(server.process.pid)

    def prompts(number: int) -> list[dict[str, object]]:
        return [
            {"text": f"thing {number}", "threshold": 0.2, "max_objects": 3},
            {"boxes": [[5, 5, 20 + 5 * number, 50]], "threshold": 0.2, "max_objects": 3},
        ]

    def answers(client: httpx.Client, image: str, number: int) -> list[object]:
        posted = [client.post(f"/v1/images/{image}/segment", json=prompt) for prompt in prompts(number)]
        clicked = client.post(f"/v1/images/{image}/click", json={"points": [[5 + 9 * number, 30]]})
        assert {each.status_code for each in (*posted, clicked)} == {200}
        return [each.json() for each in (*posted, clicked)]

    def whole(number: int) -> list[object]:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            image = ready(client, png(number))["id"]
            found = answers(client, image, number)
            assert client.delete(f"/v1/images/{image}").status_code == 204
            return found

    alone = [whole(number) for number in range(8)]
    assert len({str(each) for each in alone}) == 8
    sizes = []
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            assert list(pool.map(whole, range(8))) == alone
            sizes.append(process.memory_info().rss)
    assert sizes[-1] - sizes[1] < 30_000_000, sizes
    assert httpx.get(f"{server.url}v1/about").json()["kept"] == {"images": 0, "bytes": 0}


def test_a_client_that_goes_away_leaves_nothing(server: Server) -> None:
    def begin(length: int, content: bytes) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", server.port))
        head = f"POST /v1/images HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n"
        client.sendall(head.encode() + content)
        return client

    for _ in range(20):  # more than may arrive at once
        begin(100_000, b"x" * 1000).close()
    with httpx.Client(base_url=server.url, timeout=60) as client:
        image = ready(client, png(9))["id"]
        kept = client.get("/v1/about").json()["kept"]["images"]
        body = b'{"text": "a", "threshold": 0}'
        for _ in range(5):  # their prompts, too
            gone = socket.create_connection(("127.0.0.1", server.port))
            head = f"POST /v1/images/{image}/segment HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
            gone.sendall(head.encode() + body)
            gone.close()
        assert client.post(f"/v1/images/{image}/segment", json={"text": "a"}).status_code == 200
        client.delete(f"/v1/images/{image}")
        assert kept == 1


def test_a_body_that_comes_too_slowly_is_refused(model: Model) -> None:
    service = Service(model, replace(Limits(), upload_seconds=0.2))
    listening = listen("127.0.0.1", 0)
    config = uvicorn.Config(application(service), log_level="warning", lifespan="on")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: running.run(sockets=[listening]))
    thread.start()
    try:
        with socket.create_connection(listening.getsockname()) as client:
            client.sendall(b"POST /v1/images HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\nx")
            assert client.recv(100).startswith(b"HTTP/1.1 408 ")
    finally:
        running.should_exit = True
        thread.join()
        listening.close()


def test_the_loop_answers_while_the_model_works(server: Server) -> None:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        image = ready(client, png(4, 1500, 1000))["id"]
        prompt = {"texts": [f"thing {number}" for number in range(16)], "threshold": 0.0}
        done = threading.Event()

        def ask() -> None:
            httpx.post(f"{server.url}v1/images/{image}/segment", json=prompt, timeout=60)
            done.set()

        asking = threading.Thread(target=ask)
        asking.start()
        answered = 0
        while not done.is_set():
            assert client.get("/v1/about").status_code == 200
            answered += not done.is_set()
            time.sleep(0.01)
        asking.join()
        client.delete(f"/v1/images/{image}")
    assert answered > 3


@pytest.mark.parametrize("busy", [False, True])
def test_ctrl_c_ends_it(tiny_artifact: Path, busy: bool) -> None:
    running = Server(tiny_artifact)
    if busy:
        with httpx.Client(base_url=running.url, timeout=60) as client:
            for number in range(6):
                assert client.post("/v1/images", content=png(number, 1500, 1000)).status_code == 201
            client.get(f"/v1/images/{client.post('/v1/images', content=png(7)).json()['id']}")
    status, said = running.stop()
    assert status == 0
    assert "stopped" in said
    assert "Traceback" not in said
