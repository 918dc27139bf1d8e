"""Many clients of ``sam3port serve`` at once: whether an answer is ever another's, and what happens to its memory.

    python benchmarks/serve_load.py ARTIFACT [--clients 8] [--requests 1000]

Every answer is first asked for alone, then by all clients in their own order, with pictures that come and go; each
is compared with what it was alone. Memory is the server's resident set, seen after every tenth of the requests.
"""

from __future__ import annotations

import argparse
import io
import random
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from PIL import Image

from sam3port.demo.scenes import UNSEEN_PHOTOGRAPHS, draw_scene

PICTURES = 12
TEXTS = ("star", "circle", "square", "triangle", "red")
ENDED_MAX_S = 60


def picture(number: int) -> bytes:
    """A PNG of a drawn scene, another one for each number."""
    scene = draw_scene(np.random.default_rng([11, number]), UNSEEN_PHOTOGRAPHS, 2)
    with io.BytesIO() as stream:
        Image.fromarray(scene.pixels).resize((640, 640)).save(stream, "PNG")
        return stream.getvalue()


def answer(client: httpx.Client, content: bytes, text: str) -> Any:
    """What is found, in a picture that is sent, encoded, asked about and forgotten."""
    sent = client.post("/v1/images", content=content)
    while sent.status_code in (429, 503):
        time.sleep(0.1)
        sent = client.post("/v1/images", content=content)
    name = sent.json()["id"]
    about = client.get(f"/v1/images/{name}", params={"wait": 30}).json()
    while about["state"] in ("waiting", "encoding"):
        about = client.get(f"/v1/images/{name}", params={"wait": 30}).json()
    found = client.post(f"/v1/images/{name}/segment", json={"text": text, "threshold": 0.2}).json()
    client.delete(f"/v1/images/{name}")
    return found["objects"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=1000)
    options = parser.parse_args()
    words = ["serve", "--artifact", str(options.artifact), "--port", "0", "--rate", "0"]
    server = subprocess.Popen([sys.executable, "-u", "-m", "sam3port", *words], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        found = re.search(r"http://\S+", server.stdout.readline())
        assert found is not None, "the server does not start"
        load(found[0], psutil.Process(server.pid), options.clients, options.requests)
    finally:
        server.terminate()
        server.wait(ENDED_MAX_S)


def load(url: str, process: psutil.Process, clients: int, requests: int) -> None:
    """Asks, compares, and prints."""
    contents = [picture(number) for number in range(PICTURES)]
    with httpx.Client(base_url=url, timeout=120) as client:
        alone = {(number, text): answer(client, contents[number], text) for number in range(PICTURES) for text in TEXTS}
    distinct = len({str(each) for each in alone.values()})
    assert distinct > PICTURES, "answers that are all alike show nothing: is it the demo's artifact?"
    wrong: list[tuple[int, str]] = []
    seconds: list[float] = []
    lock = threading.Lock()

    def ask(own: int) -> None:
        order = random.Random(own)
        with httpx.Client(base_url=url, timeout=120) as client:
            for _ in range(requests // clients):
                key = (order.randrange(PICTURES), order.choice(TEXTS))
                started = time.perf_counter()
                right = answer(client, contents[key[0]], key[1]) == alone[key]
                with lock:
                    seconds.append(time.perf_counter() - started)
                    if not right:
                        wrong.append(key)
                    if len(seconds) % (requests // 10) == 0:
                        print(f"{len(seconds):6} answers  {process.memory_info().rss / 2**20:7.0f} MiB", flush=True)

    print(f"     0 answers  {process.memory_info().rss / 2**20:7.0f} MiB", flush=True)
    threads = [threading.Thread(target=ask, args=(own,)) for own in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{len(seconds)} answers to {clients} clients, {len(wrong)} of them another's ({distinct} distinct answers)")
    print(
        f"median {np.median(seconds):.2f} s, 95 percent within {np.percentile(seconds, 95):.2f} s,"
        " each with upload and encoding"
    )
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
