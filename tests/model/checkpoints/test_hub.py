"""``hf:OWNER/NAME``: fetched from a server that answers as Hugging Face's hub does, in fresh processes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sam3port.model.checkpoints.errors import CheckpointError
from sam3port.model.checkpoints.hub import PUBLISHED, Remote, parse
from tests.conftest import clean_environment

COMMIT = "a" * 40
CHUNK = 10 << 20
"""What the hub's client reads at once, and so keeps when a connection breaks."""
CONTENT = bytes(range(256)) * ((CHUNK + (2 << 20)) // 256)
TOKEN = "hf_mine"
CODE = """
import sys
from sam3port.errors import UsageError
from sam3port.model.checkpoints.hub import fetch, parse
try:
    print(fetch(parse(sys.argv[1]), lambda text: print(text, file=sys.stderr)))
except UsageError as error:
    sys.exit(f"{error}")
"""


@dataclass
class Hub:
    """What the two servers were asked, and how they answer: the hub itself, and where it sends for large files."""

    asked: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)
    """Server, method, the Range and the Authorization header."""
    status: int = 302
    code: str = ""
    stop_after: int | None = None
    """Bytes after which the connection breaks."""
    content: bytes = CONTENT
    etag: str = hashlib.sha256(CONTENT).hexdigest()
    ports: dict[str, int] = field(default_factory=dict)


def _handler(hub: Hub, name: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self._note()
            self.send_response(hub.status)
            self.send_header("X-Repo-Commit", COMMIT)
            if hub.code:
                self.send_header("X-Error-Code", hub.code)
            if hub.status == 302:
                self.send_header("X-Linked-Etag", f'"{hub.etag}"')
                self.send_header("X-Linked-Size", str(len(hub.content)))
                self.send_header("Location", f"http://127.0.0.1:{hub.ports['store']}/blob")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            if self.path != "/blob":  # the client asks for more than the file
                self.send_error(404)
                return
            self._note()
            wanted = self.headers.get("Range", "bytes=0-")
            start = int(wanted.removeprefix("bytes=").split("-")[0])
            rest = hub.content[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(rest)))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(hub.content) - 1}/{len(hub.content)}")
            self.end_headers()
            if hub.stop_after is not None:
                self.wfile.write(rest[: hub.stop_after])
                self.close_connection = True
                hub.status = 503  # and nothing more comes
                hub.ports.pop("store")
                threading.Thread(target=servers["store"].shutdown).start()
                servers["store"].server_close()
                return
            self.wfile.write(rest)

        def _note(self) -> None:
            hub.asked.append((name, self.command, self.headers.get("Range"), self.headers.get("Authorization")))

    servers = _SERVERS
    return Handler


_SERVERS: dict[str, ThreadingHTTPServer] = {}


def _serve(hub: Hub, name: str) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub, name))
    _SERVERS[name] = server
    hub.ports[name] = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()


@pytest.fixture
def hub() -> Iterator[Hub]:
    found = Hub()
    for name in ("hub", "store"):
        _serve(found, name)
    yield found
    for server in _SERVERS.values():
        server.shutdown()
        server.server_close()
    _SERVERS.clear()


@dataclass
class Fetched:
    status: int
    path: Path
    said: str


@pytest.fixture
def fetched(hub: Hub, tmp_path: Path) -> Any:
    def run(name: str, **changes: str) -> Fetched:
        environment = clean_environment(
            HF_ENDPOINT=f"http://127.0.0.1:{hub.ports['hub']}",
            HF_HOME=str(tmp_path / "huggingface"),
            HF_TOKEN=TOKEN,
            HF_HUB_DISABLE_PROGRESS_BARS="1",
            HF_HUB_DOWNLOAD_TIMEOUT="2",
            SAM3PORT_CACHE=str(tmp_path / "cache"),
        )
        for variable in ("HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY"):
            environment.pop(variable, None)
        environment |= changes
        command = [sys.executable, "-c", CODE, name]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert "Traceback" not in done.stderr
        return Fetched(done.returncode, Path(done.stdout.strip()), done.stderr)

    return run


def test_names() -> None:
    sam3, other = PUBLISHED["facebook/sam3"]
    assert parse("hf:facebook/sam3") == Remote("facebook/sam3", "sam3.pt", "main", sam3.sha256)
    assert parse("hf:facebook/sam3/model.safetensors").sha256 == other.sha256
    assert parse("hf:facebook/sam3.1").file == "sam3.1_multiplex.pt"
    assert parse("hf:me/mine@v2/a/b.pt") == Remote("me/mine", "a/b.pt", "v2", None)
    assert parse("hf:facebook/sam3@other").sha256 is None
    assert all(len(each.sha256) == 64 for files in PUBLISHED.values() for each in files)


@pytest.mark.parametrize("name", ["hf:", "hf:sam3", "hf:a/b/../c", "hf:a b/c", "hf:me/mine", "hf:me/mine@v2"])
def test_impossible_names(name: str) -> None:
    with pytest.raises(CheckpointError, match=r"is no name of a file|names no file") as error:
        parse(name)
    assert "FILE" in error.value.remedy


def test_it_is_fetched_once(hub: Hub, fetched: Any) -> None:
    first = fetched("hf:me/mine/model.safetensors")
    assert first.status == 0, first.said
    assert first.path.read_bytes() == CONTENT
    assert "fetching hf:me/mine/model.safetensors: 0.01 GB, into " in first.said
    assert [(server, method) for server, method, *_ in hub.asked] == [("hub", "HEAD"), ("store", "GET")]
    assert hub.asked[0][3] == f"Bearer {TOKEN}"
    assert hub.asked[1][3] is None, "the token is not for other servers"
    hub.asked.clear()
    assert fetched("hf:me/mine/model.safetensors").path == first.path
    assert not hub.asked


def test_a_download_goes_on_where_it_stopped(hub: Hub, fetched: Any) -> None:
    hub.stop_after = CHUNK + (1 << 20)
    broken = fetched("hf:me/mine/x.pt")
    assert broken.status == 1, broken.said
    assert "cannot be fetched" in broken.said
    assert "goes on where it stopped" in broken.said
    hub.stop_after, hub.status = None, 302
    _serve(hub, "store")
    hub.asked.clear()
    again = fetched("hf:me/mine/x.pt")
    assert again.status == 0, again.said
    assert "0.01 GB, 0.01 GB of it are there, into " in again.said
    assert hub.asked[-1][2] == f"bytes={CHUNK}-"
    assert again.path.read_bytes() == CONTENT
    assert [file.name for file in again.path.parent.iterdir() if not file.name.endswith(".lock")] == ["x.pt"]


def test_what_others_fetched_is_found(hub: Hub, fetched: Any, tmp_path: Path) -> None:
    """In the cache of Hugging Face's own programs."""
    folder = tmp_path / "huggingface" / "hub" / "models--me--mine"
    file = folder / "snapshots" / COMMIT / "x.pt"
    file.parent.mkdir(parents=True)
    file.write_bytes(CONTENT)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    assert fetched("hf:me/mine/x.pt").path == file
    assert not hub.asked


@pytest.mark.parametrize("name", ["hf:me/mine/x.pt", "hf:facebook/sam3"])
def test_what_is_not_what_was_published_is_thrown_away(name: str, hub: Hub, fetched: Any, tmp_path: Path) -> None:
    if name.startswith("hf:me"):
        hub.etag = "0" * 64
    done = fetched(name)
    assert done.status == 1
    assert "is not what was published: its sha256 is" in done.said
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.is_file() and file.suffix != ".lock"]


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (403, "GatedRepo", "gives you no access to facebook/sam3"),
        (401, "GatedRepo", "gives you no access to facebook/sam3"),
        (404, "RepoNotFound", "there is no facebook/sam3 on Hugging Face, or it is private"),
        (404, "EntryNotFound", "has no file sam3.pt"),
        (403, "", "refuses facebook/sam3"),
        (500, "", "cannot be fetched"),
    ],
)
def test_refusals_are_one_line_and_a_remedy(status: int, code: str, said: str, hub: Hub, fetched: Any) -> None:
    hub.status, hub.code = status, code
    done = fetched("hf:facebook/sam3")
    assert done.status == 1
    assert said in done.said
    assert len(done.said.strip().splitlines()) == 2
    assert "  -> " in done.said


def test_without_a_network(fetched: Any) -> None:
    done = fetched("hf:me/mine/x.pt", HF_ENDPOINT="http://127.0.0.1:9")
    assert (done.status, len(done.said.strip().splitlines())) == (1, 2)
    assert "cannot be fetched" in done.said
    done = fetched("hf:me/mine/x.pt", HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE is set" in done.said


def test_a_cache_that_cannot_be_written(fetched: Any, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "checkpoints").write_text("a file")
    done = fetched("hf:me/mine/x.pt")
    assert done.status == 1
    assert os.fspath(tmp_path / "cache") in done.said
