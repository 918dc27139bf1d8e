"""Who may ask, how much and how often; and that whoever goes away leaves nothing behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sam3port.errors import Sam3PortError, UsageError
from sam3port.runtime.features import FeatureFolder
from sam3port.runtime.model import Model
from sam3port.serve.guard import Rate, is_loopback
from sam3port.serve.images import Images, KeptImage
from sam3port.serve.limits import Limits
from sam3port.serve.refusal import Refusal
from sam3port.serve.server import check_token, listen
from sam3port.serve.service import Service
from sam3port.serve.worker import PICTURE, PROMPT, Worker
from tests.serve.conftest import MANY, client_of, png, ready
from tests.serve.test_api import error

TOKEN = "0123456789abcdef"


def test_elsewhere_a_token_is_needed() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.2", "example.org"):
        assert not is_loopback(host)
        with pytest.raises(UsageError, match="no token"):
            check_token(host, None)
        check_token(host, TOKEN)
    for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost"):
        check_token(host, None)
    with pytest.raises(UsageError, match="shorter"):
        check_token("127.0.0.1", "short")


def test_the_api_asks_for_the_token_and_the_page_does_not(model: Model) -> None:
    with client_of(model, token=TOKEN) as client:
        assert client.get("/").status_code == 200
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer é".encode("latin-1")}):
            answer = client.get("/v1/about", headers=headers)
            assert "token" in error(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"
            error(client.post("/v1/images", content=png(1), headers=headers), 401)
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert client.get("/v1/about", headers={**right, "Host": "anything.example"}).status_code == 200


def test_pages_of_other_servers_cannot_ask(model: Model) -> None:
    with client_of(model) as client:
        assert "name" in error(client.get("/v1/about", headers={"Host": "evil.example"}), 403)
        assert "name" in error(client.get("/", headers={"Host": "evil.example:8000"}), 403)
        assert "page" in error(client.get("/v1/about", headers={"Origin": "https://evil.example"}), 403)
        assert "page" in error(client.get("/v1/about", headers={"Origin": "null"}), 403)
        assert "page" in error(client.get("/v1/about", headers={"Origin": "http://["}), 403)
        assert "name" in error(client.get("/v1/about", headers={"Host": "["}), 403)
        for host in ("localhost:8000", "127.0.0.1:8000", "[::1]:8000"):
            headers = {"Host": host, "Origin": f"http://{host}"}
            assert client.get("/v1/about", headers=headers).status_code == 200


def test_requests_are_counted(model: Model) -> None:
    with client_of(model, replace(Limits(), rate=0.001, burst=3)) as client:
        assert [client.get("/v1/about").status_code for _ in range(4)] == [200, 200, 200, 429]
        assert int(client.get("/v1/about").headers["retry-after"]) > 100
        assert client.get("/").status_code == 200
    rate = Rate(0.001, 1)
    for number in range(10_000):  # as many addresses as somebody likes take no memory
        rate.count(str(number))
    assert len(rate._left) == 4096


def test_large_bodies_are_refused(model: Model) -> None:
    with client_of(model, replace(MANY, upload_bytes=1000)) as client:
        assert "1000 bytes" in error(client.post("/v1/images", content=bytes(1001)), 413)

        def pieces() -> Iterator[bytes]:  # without a length
            yield bytes(600)
            yield bytes(600)

        assert "1000 bytes" in error(client.post("/v1/images", content=pieces()), 413)
    with client_of(model, replace(MANY, body_bytes=100)) as client:
        image = ready(client, png(1))["id"]
        assert "100 bytes" in error(client.post(f"/v1/images/{image}/click", content=bytes(101)), 413)


def image(name: str, state: Any = "ready") -> KeptImage:
    import numpy as np

    kept = KeptImage(name, np.zeros((1, 1, 3), np.uint8), 10)
    kept.state = state
    return kept


def test_what_was_used_least_recently_goes() -> None:
    images = Images(35)
    first, second, third = (image(str(number)) for number in range(3))
    for each in (first, second, third):
        images.add(each)
    images.get(first.id)
    images.add(fourth := image("4"))
    assert [images.get(each.id) for each in (first, third, fourth)] == [first, third, fourth]
    with pytest.raises(Refusal, match="no such picture"):
        images.get(second.id)


def test_what_waits_is_not_dropped_for_others() -> None:
    images = Images(25)
    waiting = [image("1", "queued"), image("2", "encoding")]
    for each in waiting:
        images.add(each)
    with pytest.raises(Refusal, match="no room") as refused:
        images.add(image("3"))
    assert refused.value.status == 503
    assert all(images.get(each.id) is each for each in waiting)
    alone = Images(5)
    alone.add(only := image("larger than all room"))
    assert alone.get(only.id) is only


def test_prompts_go_before_pictures_and_cancelled_work_is_not_done() -> None:
    worker, done, hold = Worker(), list[str](), threading.Event()
    blocker = worker.submit(PICTURE, hold.wait)
    while worker.place(PICTURE, blocker) is not None:
        time.sleep(0.001)
    first = worker.submit(PICTURE, lambda: done.append("picture"))
    cancelled = worker.submit(PROMPT, lambda: done.append("cancelled"))
    prompt = worker.submit(PROMPT, lambda: done.append("prompt"))
    assert (worker.place(PICTURE, first), worker.waiting(PROMPT), worker.waiting(PICTURE)) == (1, 2, 1)
    cancelled.cancel()
    assert worker.place(PROMPT, prompt) == 1
    hold.set()
    first.result(10)
    assert done == ["prompt", "picture"]
    failing = worker.submit(PROMPT, lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        failing.result(10)
    assert worker.submit(PROMPT, lambda: 1).result(10) == 1  # the thread lives on
    worker.close()
    assert worker.waiting(PROMPT) == worker.waiting(PICTURE) == 0


@pytest.fixture
def held(model: Model) -> Iterator[tuple[Any, Service, threading.Event]]:
    """A server whose worker is busy until the event is set."""
    from starlette.testclient import TestClient

    from sam3port.serve.app import application

    service, hold = Service(model, replace(MANY, waiting_pictures=2, waiting_prompts=1)), threading.Event()
    with TestClient(application(service), base_url="http://127.0.0.1") as client:
        known = ready(client, png(3))["id"]
        service._worker.submit(PROMPT, hold.wait)
        client.known = known  # type: ignore[attr-defined]
        yield client, service, hold
        hold.set()


def test_pictures_wait_in_a_queue_that_ends(held: tuple[Any, Service, threading.Event]) -> None:
    client, service, hold = held
    sent = [client.post("/v1/images", content=png(number)).json() for number in (1, 2)]
    assert [(each["state"], each["place"], each["progress"]) for each in sent] == [("queued", 1, 0), ("queued", 2, 0)]
    assert "not encoded yet" in error(client.post(f"/v1/images/{sent[0]['id']}/segment", json={"text": "a"}), 409)
    answer = client.post("/v1/images", content=png(3))
    assert "too many" in error(answer, 503)
    assert "retry-after" in answer.headers
    kept = service.images.get(sent[0]["id"])
    client.delete(f"/v1/images/{sent[0]['id']}")
    assert kept.pixels is None  # its memory is free, though the queue has not come to it
    assert client.get(f"/v1/images/{sent[1]['id']}").json()["place"] == 1
    hold.set()
    assert client.get(f"/v1/images/{sent[1]['id']}?wait=30").json()["state"] == "ready"
    assert kept.state == "queued"


def test_prompts_wait_in_a_queue_that_ends(held: tuple[Any, Service, threading.Event]) -> None:
    client, service, _hold = held
    service._worker.submit(PROMPT, lambda: None)
    assert "too many" in error(client.post(f"/v1/images/{client.known}/segment", json={"text": "a"}), 503)


def test_an_encoder_that_fails_is_said(
    model: Model, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(_pixels: Any) -> Any:
        raise problems.pop()

    problems: list[Exception] = [ValueError("a fault of ours"), Sam3PortError("memory is full", "give it more")]
    with client_of(model) as client:
        monkeypatch.setattr(model, "encode_image", failing)
        sent = [client.post("/v1/images", content=png(6)).json()["id"] for _ in range(2)]
        abouts = [client.get(f"/v1/images/{each}?wait=30").json() for each in sent]
        assert [each["state"] for each in abouts] == ["failed", "failed"]
        assert abouts[0]["error"] == {"problem": "memory is full", "remedy": "give it more"}
        assert abouts[1]["error"]["problem"] == "the image encoder failed"
        assert "a fault of ours" in caplog.text
        assert "memory is full" in error(client.post(f"/v1/images/{sent[0]}/segment", json={"text": "a"}), 500)
        monkeypatch.undo()
        ready(client, png(6))  # the worker lives on


def test_features_are_kept_for_the_next_server(model: Model, tmp_path: Path) -> None:
    folder = FeatureFolder(tmp_path, 10**9)
    answers = []
    for _ in range(2):
        with client_of(model, folder=folder) as client:
            image = ready(client, png(5))["id"]
            answers.append(client.post(f"/v1/images/{image}/segment", json={"text": "a", "threshold": 0.1}).json())
    assert len(list(tmp_path.iterdir())) == 1
    assert answers[0]["objects"]
    assert answers[0] == answers[1]


def test_a_port_that_is_taken_is_said() -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(UsageError, match="cannot listen"):
        listen("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(UsageError, match="cannot listen"):
        listen("no.such.host.invalid", 0)
