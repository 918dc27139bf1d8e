"""Label Studio's protocol, with what it sends, and pictures that lie on a server that stands for it."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from sam3port.errors import UsageError
from sam3port.runtime.label_studio import brush_runs
from sam3port.runtime.masks import rle
from sam3port.runtime.model import Model
from sam3port.serve.label_studio import Source, control_of
from tests.serve.conftest import EXAMPLE, client_of

KEY = "secret"
CONFIG = """<View>
  <!-- what people see -->
  <Image name="image" value="$photo" zoom="true"/>
  <{kind} name="tag" toName="image" model_score_threshold="0.3">
    <Label value="red star" background="red"/><Label value="green circle"/>
  </{kind}>
  <KeyPointLabels name="point" toName="image" smart="true"><Label value="green circle"/></KeyPointLabels>
</View>"""


@dataclass
class Studio:
    """Gives the example to who has the key; sends some on to another place."""

    url: str = ""
    asked: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    found = Studio()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append(self.path)
            key = self.headers.get("Authorization")
            if self.path == "/tasks/7/resolve/":
                self.send_response(302)
                self.send_header("Location", f"{found.url}/signed")
                self.end_headers()
                return
            # What it sends on to is signed, and is to see no key.
            right = key is None if self.path == "/signed" else key == f"Token {KEY}"
            self.send_response(200 if right else 401)
            self.end_headers()
            self.wfile.write(EXAMPLE.read_bytes() if right else b"")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def backend(model: Model, studio: Studio) -> Iterator[TestClient]:
    with client_of(model, labels_from=Source(studio.url, KEY)) as client:
        yield client


def predicted(client: TestClient, kind: str, address: str, **params: Any) -> dict[str, Any]:
    """As Label Studio asks it."""
    body = {
        "tasks": [{"id": 1, "data": {"photo": address}, "annotations": [], "predictions": []}],
        "label_config": CONFIG.format(kind=kind),
        "project": "1.1700000000",
        "params": {"login": None, "password": None, **params},
    }
    answer = client.post("/label-studio/predict", json=body)
    assert answer.status_code == 200, answer.text
    (result,) = answer.json()["results"]
    found: dict[str, Any] = result
    return found


def test_it_is_up_and_set_up(backend: TestClient, model: Model) -> None:
    assert backend.get("/label-studio/health").json()["status"] == "UP"
    asked = {"project": "1.1700000000", "schema": CONFIG.format(kind="BrushLabels"), "hostname": "http://elsewhere"}
    answer = backend.post("/label-studio/setup", json=asked)
    assert answer.json() == {"model_version": f"sam3port-{model.identity[:12]}"}
    assert backend.post("/label-studio/setup", json={**asked, "schema": "<View/>"}).status_code == 422


def test_labels_are_asked_as_texts(backend: TestClient, model: Model, studio: Studio) -> None:
    found = model.encode_image(EXAMPLE).segment(["red star", "green circle"], threshold=0.3)
    order = [index for index in np.argsort(-found.scores, kind="stable") if found.regions[int(index)]]
    assert len(order) > 1
    studio.asked.clear()
    brushes = predicted(backend, "BrushLabels", "/data/upload/1/photo.jpg")["result"]
    assert [each["value"]["rle"] for each in brushes] == [brush_runs(found.mask(index)) for index in order]
    assert [each["value"]["brushlabels"] for each in brushes] == [[found.names[index]] for index in order]
    assert [each["score"] for each in brushes] == [float(found.scores[index]) for index in order]
    boxes = predicted(backend, "RectangleLabels", "/data/upload/1/photo.jpg")["result"]
    polygons = predicted(backend, "PolygonLabels", "/data/upload/1/photo.jpg")["result"]
    assert studio.asked == ["/data/upload/1/photo.jpg"]  # then it is known
    assert len(boxes) == len(order) <= len(polygons)
    for each in (*brushes, *boxes, *polygons):
        assert (each["from_name"], each["to_name"], each["original_width"]) == ("tag", "image", 448)
    assert len({each["id"] for each in polygons}) == len(polygons)
    for box in boxes:
        value = box["value"]
        assert 0 <= value["x"] <= value["x"] + value["width"] <= 100 + 1e-9
    assert all(0 <= x <= 100 and 0 <= y <= 100 for each in polygons for x, y in each["value"]["points"])


def test_a_smart_tool_gives_the_object_there(backend: TestClient, model: Model) -> None:
    value = {"x": 25.0, "y": 50.0, "width": 0.5, "keypointlabels": ["green circle"]}
    size = {"original_width": 448, "original_height": 448, "image_rotation": 0}
    point = {"type": "keypointlabels", "from_name": "point", "to_name": "image", "value": value, **size}
    other = {**point, "is_positive": False, "value": {**value, "x": 75.0}}
    context = {"result": [{**point, "is_positive": True}, other]}
    address = f"data:image/jpeg;base64,{base64.b64encode(EXAMPLE.read_bytes()).decode()}"
    (each,) = predicted(backend, "BrushLabels", address, context=context)["result"]
    clicked = model.encode_image(EXAMPLE).click([(112, 224), (336, 224)], [True, False], multimask=False)
    assert each["value"] == {
        "format": "rle",
        "rle": brush_runs(rle.decode(clicked.rle[0]).mask(448, 448)),
        "brushlabels": ["green circle"],
    }
    drawn = {"type": "rectanglelabels", "value": {"x": 10, "y": 10, "width": 30, "height": 30}}
    boxed = model.encode_image(EXAMPLE).click(box=(44.8, 44.8, 179.2, 179.2))
    (each,) = predicted(backend, "PolygonLabels", address, context={"result": [drawn]})["result"][:1]
    assert each["score"] == float(boxed.scores.max()) and each["value"]["polygonlabels"] == ["red star"]


def test_pictures_come_from_label_studio_only(backend: TestClient, studio: Studio) -> None:
    assert predicted(backend, "BrushLabels", f"{studio.url}/tasks/7/resolve/")["result"]
    body = {"label_config": CONFIG.format(kind="BrushLabels")}
    for address in ("http://127.0.0.1:1/x.jpg", "file:///etc/passwd", "//elsewhere/x.jpg", "data:,x", "http://[", 5):
        answer = backend.post("/label-studio/predict", json={**body, "tasks": [{"data": {"photo": address}}]})
        assert answer.status_code == 422, (address, answer.text)
    with pytest.raises(UsageError, match="is no address"):
        Source("file:///data", None)


@pytest.mark.parametrize(
    "change",
    [{"tasks": {}}, {"tasks": [1]}, {"tasks": [{"data": []}]}, {"params": [1]}, {"params": {"context": {"result": 1}}}]
    + [{"label_config": config} for config in (None, "<View", "<View/>", "<!DOCTYPE a [<!ENTITY b 'c'>]><View/>")],
)
def test_what_is_no_request_of_label_studio(backend: TestClient, change: dict[str, Any]) -> None:
    body = {"tasks": [{"data": {}}], "label_config": CONFIG.format(kind="BrushLabels"), **change}
    answer = backend.post("/label-studio/predict", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["problem"]


def test_who_may_ask(model: Model, studio: Studio) -> None:
    with client_of(model, token="t", labels_from=Source(studio.url, KEY)) as client:
        assert client.get("/label-studio/health").status_code == 401
        assert client.get("/label-studio/health", auth=("anybody", "t")).status_code == 200
        assert client.get("/label-studio/health", auth=("anybody", "u")).status_code == 401
        assert client.get("/label-studio/health", headers={"Authorization": "Basic ?"}).status_code == 401
        assert client.get("/v1/about", headers={"Authorization": "Bearer t"}).status_code == 200
    with client_of(model) as client:
        assert client.get("/label-studio/health").status_code == 404


def test_the_tag_that_is_answered() -> None:
    control = control_of(CONFIG.format(kind="PolygonLabels"))
    assert (control.kind, control.name, control.to, control.key) == ("PolygonLabels", "tag", "image", "photo")
    assert (control.labels, control.threshold) == (("red star", "green circle"), 0.3)
