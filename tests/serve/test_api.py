"""The API, over the real tiny artifact."""

from __future__ import annotations

import base64
import io
import json
import re
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from sam3port.runtime.masks import rle
from sam3port.runtime.model import Model
from sam3port.serve import app
from tests.serve.conftest import EXAMPLE, client_of, png, ready


def asked(client: TestClient, image: str, what: str, **prompt: Any) -> dict[str, Any]:
    answer = client.post(f"/v1/images/{image}/{what}", json=prompt)
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


def error(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    content = answer.json()["error"]
    assert set(content) == {"problem", "remedy"}
    assert content["problem"]
    return str(content["problem"])


def test_a_picture_is_encoded_and_answers_as_the_library_does(client: TestClient, model: Model) -> None:
    content = EXAMPLE.read_bytes()
    image = ready(client, content)
    assert (image["width"], image["height"], image["progress"], image["place"]) == (448, 448, 1.0, None)
    encoded = model.encode_image(EXAMPLE)
    boxes, labels = [[40, 50, 200, 220], [0, 0, 30, 30]], [True, False]
    given = asked(client, image["id"], "segment", text="red star", boxes=boxes, box_labels=labels, threshold=0.3)
    expected = encoded.segment("red star", boxes, labels, threshold=0.3)
    wanted = sorted(expected.to_coco(), key=lambda each: -each["score"])
    assert len(wanted) > 1
    assert [each["rle"] for each in given["objects"]] == [each["segmentation"] for each in wanted]
    assert [each["score"] for each in given["objects"]] == [each["score"] for each in wanted]
    assert {each["label"] for each in given["objects"]} == {"red star"}
    assert given["best_below"] == expected.best_below

    clicked = asked(client, image["id"], "click", points=[[100, 120], [300, 300]], point_labels=[True, False])
    answer = encoded.click([[100, 120], [300, 300]], [True, False], multimask=False)
    assert [each["rle"] for each in clicked["objects"]] == [each for each in answer.rle if rle.decode(each)]
    assert len(asked(client, image["id"], "click", points=[[100, 120]])["objects"]) <= 3


def test_several_texts_and_masks_as_png(client: TestClient) -> None:
    image = ready(client, EXAMPLE.read_bytes())["id"]
    texts = ["red star", "green circle"]
    runs = asked(client, image, "segment", texts=texts, threshold=0.3, max_objects=5)["objects"]
    drawn = asked(client, image, "segment", texts=texts, threshold=0.3, max_objects=5, masks="png")["objects"]
    assert len(runs) == 5
    for run, each in zip(runs, drawn, strict=True):
        assert (run["label"], run["score"]) == (each["label"], each["score"])
        mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(each["png"]))))
        assert mask.dtype == np.bool_
        np.testing.assert_array_equal(mask, rle.decode(run["rle"]).mask(448, 448))


def test_a_picture_that_is_dropped_is_gone(client: TestClient) -> None:
    image = ready(client, png(1))["id"]
    assert client.delete(f"/v1/images/{image}").status_code == 204
    for answer in (
        client.get(f"/v1/images/{image}"),
        client.delete(f"/v1/images/{image}"),
        client.post(f"/v1/images/{image}/segment", json={"text": "a"}),
    ):
        assert "no such picture" in error(answer, 404)
    assert client.get("/v1/about").json()["kept"] == {"images": 0, "bytes": 0}


def test_the_browser_gets_the_picture_upright(client: TestClient) -> None:
    turned, stream = Image.new("RGB", (40, 20)), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(stream, "TIFF", exif=exif)
    image = ready(client, stream.getvalue())
    assert (image["width"], image["height"]) == (20, 40)
    shown = client.get(f"/v1/images/{image['id']}/preview")
    assert Image.open(io.BytesIO(shown.content)).size == (20, 40)


def saved(image: Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def bomb() -> bytes:
    """A PNG that says that it has 10 000 000 000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + saved(Image.new("RGB", (9, 9)), "PNG")[33:]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "empty"),
        (b"no picture at all", "no picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no picture"),
        (png(1)[:-40], "damaged"),
        (saved(Image.new("RGB", (9, 9)), "EPS"), "EPS"),
        (saved(Image.new("F", (9, 9)), "TIFF"), "32 bits"),
        (bomb(), "more pixels"),
    ],
)
def test_uploads_that_are_no_pictures_are_refused(
    client_with_picture: tuple[TestClient, str], content: bytes, problem: str
) -> None:
    client, _ = client_with_picture
    answer = client.post("/v1/images", content=content)
    assert problem in error(answer, 422)
    assert "sam3port-serve" not in answer.text  # no path of the server's
    assert client.get("/v1/about").json()["kept"]["images"] == 1


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("", "empty"),
        ("{", "no JSON"),
        ("[" * 200_000, "no JSON"),
        ("[]", "no JSON object"),
        ('{"text": "a", "threshold": NaN}', "no JSON"),
        ('{"text": "a", "treshold": 1}', "treshold"),
        ("{}", "no prompt"),
        ('{"text": ""}', "text"),
        ('{"text": 1}', "text"),
        ('{"text": "a", "texts": ["b"]}', "both"),
        ('{"texts": "bus"}', "text"),
        (json.dumps({"texts": ["a"] * 33}), "too many"),
        (json.dumps({"text": "a" * 1001}), "too long"),
        ('{"text": "a", "threshold": 2}', "threshold"),
        ('{"text": "a", "threshold": null}', "threshold"),
        ('{"text": "a", "threshold": "0.5"}', "threshold"),
        ('{"text": "a", "mask_threshold": 1}', "mask threshold"),
        ('{"text": "a", "max_objects": 0}', "max_objects"),
        ('{"text": "a", "max_objects": true}', "max_objects"),
        ('{"text": "a", "nms": -1}', "nms"),
        ('{"text": "a", "masks": "gif"}', "gif"),
        ('{"boxes": [1, 2, 3, 4]}', "boxes"),
        ('{"boxes": [["1", 2, 3, 4]]}', "boxes"),
        ('{"boxes": [[1, 2, 3, true]]}', "boxes"),
        ('{"boxes": [[1, 2, 3, 1e400]]}', "finite"),
        ('{"boxes": [[1, 2, 3, 1' + "0" * 400 + "]]}", "boxes"),
        ('{"boxes": [[50, 50, 10, 10]]}', "no area"),
        ('{"boxes": [[1, 1, 5, 5]], "box_labels": [1]}', "box_labels"),
        ('{"boxes": [[1, 1, 5, 5]], "box_labels": [true, false]}', "labels"),
        ('{"points": [[1000, 1]]}', "outside"),
        (json.dumps({"boxes": [[1, 1, 5, 5]] * 1000}), "boxes"),
    ],
)
def test_wrong_prompts_are_said(client_with_picture: tuple[TestClient, str], body: str, problem: str) -> None:
    client, image = client_with_picture
    assert problem in error(client.post(f"/v1/images/{image}/segment", content=body), 422)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("{}", "nothing was clicked"),
        ('{"text": "a"}', "text"),
        ('{"points": [[1, 1]], "multimask": 1}', "multimask"),
        ('{"box": [[1, 1, 5, 5]]}', "box"),
        ('{"box": {"a": 1}}', "box"),
        ('{"points": [[1, 1]], "point_labels": "yes"}', "point_labels"),
    ],
)
def test_wrong_clicks_are_said(client_with_picture: tuple[TestClient, str], body: str, problem: str) -> None:
    client, image = client_with_picture
    assert problem in error(client.post(f"/v1/images/{image}/click", content=body), 422)


@pytest.fixture(scope="module")
def client_with_picture(model: Model) -> Any:
    with client_of(model) as client:
        yield client, ready(client, png(1))["id"]


def test_every_error_is_json(client: TestClient) -> None:
    error(client.get("/v1/nothing"), 404)
    error(client.put("/v1/images"), 405)
    error(client.get("/page/../app.py"), 404)
    error(client.get("/page/%2e%2e/app.py"), 404)
    error(client.get(f"/v1/images/{ready(client, png(2))['id']}?wait=long"), 422)


def test_the_description_names_every_address(client: TestClient) -> None:
    document = client.get("/v1/openapi.json").json()
    methods = {"get", "post", "delete"}
    described = {
        (path, method.upper()) for path, entry in document["paths"].items() for method in methods & entry.keys()
    }
    routes = {
        (route.path, method)
        for route in client.app.routes  # type: ignore[attr-defined]
        if route.path.startswith("/v1/") and route.path != "/v1/openapi.json"
        for method in route.methods - {"HEAD"}
    }
    assert described == routes
    for reference in re.findall(r'"#/components/schemas/(\w+)', json.dumps(document)):
        assert reference in document["components"]["schemas"]


def test_the_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    index = client.get("/")
    assert index.status_code == 200
    assert "default-src 'none'" in index.headers["content-security-policy"]
    for file in app.PAGE.iterdir():
        assert client.get(f"/page/{file.name}").status_code == 200
        if file.suffix != ".jpg":
            addresses = set(re.findall(r"https?://[^\s\"']+", file.read_text(encoding="utf-8")))
            assert addresses <= {"http://www.w3.org/2000/svg"}, file
    for script in re.findall(r'(?:src|href)="(page/[^"]+)"', index.text):
        assert client.get(f"/{script}").status_code == 200
