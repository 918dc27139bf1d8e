"""Label Studio's protocol for ML backends, on the same server: ``/label-studio`` is the address that it is told.

Its labels are asked as texts; where somebody clicks or draws a box with a smart tool, the object there is answered.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
import urllib.request
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast
from urllib.parse import urljoin, urlsplit
from xml.etree import ElementTree

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from sam3port.errors import UsageError
from sam3port.runtime import label_studio as regions
from sam3port.runtime.encoded import EncodedImage
from sam3port.runtime.masks.polygons import polygons
from sam3port.runtime.masks.region import Masks
from sam3port.runtime.result import coco_box
from sam3port.serve.images import KeptImage
from sam3port.serve.refusal import Refusal
from sam3port.serve.service import Service

_KINDS: Final = ("BrushLabels", "PolygonLabels", "RectangleLabels")
"""What can be answered, and which goes first where an interface has several."""
_THRESHOLD: Final = 0.5
_REMEMBERED: Final = 1000
"""Pictures by their addresses, whose ids are remembered."""
_SECONDS: Final = 30
_Result = TypeVar("_Result")
_Kind = TypeVar("_Kind", dict[str, Any], list[Any])
Body = Callable[[Request, int], Awaitable[bytes]]


@dataclass(frozen=True)
class Control:
    """The tag of a labelling interface that answers are for."""

    kind: str
    """Of `_KINDS`."""
    name: str
    to: str
    key: str
    """Which part of a task's data has the picture's address."""
    labels: tuple[str, ...]
    threshold: float


class Source:
    """Where pictures come from: Label Studio itself, and no other server that a task may name."""

    def __init__(self, url: str, key: str | None) -> None:
        """
        Args:
            url: of Label Studio, http or https.
            key: its legacy token, which it wants to see where pictures are.

        Raises:
            UsageError: the URL is none.
        """
        if (origin := _origin(url))[0] not in ("http", "https") or not origin[1]:
            raise UsageError(f"--label-studio {url} is no address", "give Label Studio's own: http://HOST:8080")
        self._base, self._key = url.rstrip("/") + "/", key

    def read(self, address: str, most: int) -> bytes:
        """A picture's file.

        Args:
            address: as a task has it; a path is one of Label Studio's.
            most: bytes.

        Raises:
            Refusal: it lies elsewhere, cannot be fetched or is too large.
        """
        if address.startswith("data:"):
            return _embedded(address)
        url = _joined(self._base, address)
        if _origin(url) != _origin(self._base):
            raise Refusal(422, f"the picture is not at {self._base}: {address[:200]}", "store it in Label Studio")
        request = urllib.request.Request(url)
        if self._key is not None:  # an object store that it sends us on to does not get it
            request.add_unredirected_header("Authorization", f"Token {self._key}")
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as stream:
                content = cast(bytes, stream.read(most + 1))
        except (OSError, ValueError) as error:  # urllib's own are among them
            raise Refusal(502, f"Label Studio does not give {address[:200]}: {error}", "is the token right?") from None
        if len(content) > most:
            raise Refusal(413, f"the picture is larger than {most} bytes", "make it smaller")
        return content


def routes(service: Service, source: Source, body: Body) -> list[BaseRoute]:
    """What is added to a server.

    Args:
        service: answers.
        source: of pictures.
        body: reads a request's body of at most so many bytes.
    """
    backend = _Backend(service, source, body)
    return [
        Mount(
            "/label-studio",
            routes=[
                Route("/", backend.health),
                Route("/health", backend.health),
                Route("/setup", backend.setup, methods=["POST"]),
                Route("/predict", backend.predict, methods=["POST"]),
            ],
        )
    ]


def control_of(config: Any) -> Control:
    """What an interface can be answered with.

    Args:
        config: its XML. It is not trusted: entities are refused.

    Raises:
        UsageError: it is damaged, or has nothing that a mask or a box could be shown with.
    """
    remedy = 'give it <Image name="image" value="$image"/> and <BrushLabels name="label" toName="image">'
    if not isinstance(config, str) or "<!" in config.replace("<!--", ""):
        raise UsageError("the labelling interface is no XML without a document type", remedy)
    try:
        tree = ElementTree.fromstring(config)
    except ElementTree.ParseError as error:
        raise UsageError(f"the labelling interface is no XML: {error}", remedy) from None
    images = {tag.get("name"): (tag.get("value") or "").removeprefix("$") for tag in tree.iter("Image")}
    for kind in _KINDS:
        for tag in tree.iter(kind):
            labels = tuple(value for label in tag.iter("Label") if (value := label.get("value")))
            if labels and (key := images.get(tag.get("toName"))):
                return Control(kind, tag.get("name") or "", tag.get("toName") or "", key, labels, _threshold(tag))
    raise UsageError(f"the labelling interface has none of {', '.join(_KINDS)} for an Image", remedy)


class _Backend:
    """Answers Label Studio."""

    def __init__(self, service: Service, source: Source, body: Body) -> None:
        self._service, self._source, self._body = service, source, body
        self._known: OrderedDict[str, str] = OrderedDict()
        self._version = f"sam3port-{service.model.identity[:12]}"

    async def health(self, _request: Request) -> Response:
        return JSONResponse({"status": "UP", "model_class": "sam3port"})

    async def setup(self, request: Request) -> Response:
        """A project is told of us; its address and token are not used, ours are the operator's."""
        control_of((await self._json(request)).get("schema"))
        return JSONResponse({"model_version": self._version})

    async def predict(self, request: Request) -> Response:
        given = await self._json(request)
        control, limits = control_of(given.get("label_config")), self._service.limits
        if len(control.labels) > limits.texts or any(len(label) > limits.text_characters for label in control.labels):
            most = f"at most {limits.texts} labels of {limits.text_characters} characters"
            raise UsageError("the labels are too many or too long", f"give the interface {most}")
        context = _part(_part(given, "params", dict), "context", dict)
        drawn = _part(context, "result", list)
        results = [await self._answer(task, control, drawn) for task in _part(given, "tasks", list)]
        return JSONResponse({"results": results, "model_version": self._version})

    async def _answer(self, task: Any, control: Control, drawn: list[Any]) -> dict[str, Any]:
        address = _part(task, "data", dict).get(control.key)
        if not isinstance(address, str):
            raise UsageError(f"a task has no address of a picture in {control.key!r}", "send what Label Studio sends")
        image = await self._encoded(address)
        asked = self._service.ask(image, lambda encoded: answer(encoded, control, drawn))
        result = await _settled(asked)
        scores = [each["score"] for each in result]
        score = sum(scores) / len(scores) if scores else 0.0
        return {"model_version": self._version, "score": score, "result": result}

    async def _encoded(self, address: str) -> KeptImage:
        """The picture, encoded: a click into one that was asked about before is answered at once."""
        key = hashlib.sha256(address.encode()).hexdigest()
        try:
            image = self._service.images.get(self._known[key])
        except (KeyError, Refusal):  # never here, or dropped
            most = self._service.limits.upload_bytes
            content = await anyio.to_thread.run_sync(self._source.read, address, most)
            image = await anyio.to_thread.run_sync(self._service.add, content, "label-studio")
            self._known[key] = image.id
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        await _settled(cast("Future[None]", image.job))
        return image

    async def _json(self, request: Request) -> dict[str, Any]:
        try:
            given = json.loads(await self._body(request, self._service.limits.upload_bytes))
        except (ValueError, RecursionError):
            given = None
        if not isinstance(given, dict):
            raise UsageError("the body is no JSON object", "send what Label Studio sends")
        return given


def answer(image: EncodedImage, control: Control, drawn: list[Any]) -> list[dict[str, Any]]:
    """What is found, as Label Studio's regions, the best first.

    Args:
        image: asked.
        control: what regions are for, and the labels that are asked for.
        drawn: what somebody has clicked or drawn just now; nothing: every label is asked for.

    Raises:
        UsageError: what was drawn cannot be read.
    """
    if drawn:
        points, wanted, box, label = _drawn(image, control, drawn)
        clicked = image.click(points, wanted, box, multimask=len(points) + (box is not None) == 1)
        best = [clicked.best]
        return _regions(clicked.regions.take(best), None, clicked.scores[best], [label], image, control)
    found = image.segment(control.labels, threshold=control.threshold)
    found = found.take(sorted(range(len(found)), key=lambda index: -found.scores[index]))
    return _regions(found.regions, found.boxes, found.scores, found.names, image, control)


def _regions(
    masks: Masks, boxes: Any, scores: Any, names: list[str], image: EncodedImage, control: Control
) -> list[dict[str, Any]]:
    width, height = image.width, image.height
    about = {"original_width": width, "original_height": height, "image_rotation": 0}
    found = []
    for index, name in enumerate(names):
        if not (region := masks[index]):
            continue
        if control.kind == "BrushLabels":
            pieces = [regions.brush(region.mask(height, width), name)]
        elif control.kind == "PolygonLabels":
            pieces = [regions.polygon(piece.joined(), name, width, height) for piece in polygons(region)]
        else:
            box = coco_box(region, None if boxes is None else boxes[index], height, width)
            pieces = [regions.rectangle(box, name, width, height)]
        place = {"from_name": control.name, "to_name": control.to, **about, "score": float(scores[index])}
        found += [{"id": f"{index + 1}-{number}", **place, **piece} for number, piece in enumerate(pieces, 1)]
    return found


def _drawn(image: EncodedImage, control: Control, drawn: list[Any]) -> tuple[list[Any], list[bool], Any, str]:
    """Points, whether each is wanted, a box and the label, in pixels."""
    points, wanted, box, label = [], [], None, control.labels[0]
    try:
        for each in drawn:
            kind, value = each["type"], each["value"]
            x, y = value["x"] * image.width / 100, value["y"] * image.height / 100
            if kind.startswith("keypoint"):
                points.append((x, y))
                wanted.append(bool(each.get("is_positive", True)))
            elif kind.startswith("rectangle"):
                box = (x, y, x + value["width"] * image.width / 100, y + value["height"] * image.height / 100)
            label = next(iter(value.get(kind) or ()), label)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError):
        raise UsageError("what was drawn is no keypoint or rectangle", "draw with a smart tool for these") from None
    return points, wanted, box, str(label)


async def _settled(job: Future[_Result]) -> _Result:
    """The result of a job that is not taken from the queue meanwhile."""
    try:
        return await asyncio.wrap_future(job)
    except asyncio.CancelledError:
        if not job.cancelled():
            raise
        raise Refusal(503, "the picture was dropped: others needed its room", "try again later", 5) from None


def _part(given: Any, name: str, kind: type[_Kind]) -> _Kind:
    """Of JSON that is not trusted; an empty one where there is none."""
    value = given.get(name) if isinstance(given, dict) else given
    if isinstance(value, kind):
        return value
    if value is None:
        return kind()
    raise UsageError(f"{name} is of another kind than Label Studio's", "send what Label Studio sends")


def _threshold(tag: ElementTree.Element) -> float:
    try:
        return float(tag.get("model_score_threshold", _THRESHOLD))
    except ValueError:
        raise UsageError("model_score_threshold is no number", "give a number from 0 to 1") from None


def _embedded(address: str) -> bytes:
    about, comma, content = address.partition(",")
    try:
        if comma and about.endswith(";base64"):
            return base64.b64decode(content, validate=True)
    except binascii.Error:
        pass
    raise Refusal(422, "the picture's data URL is no base64", "send data:image/png;base64,...")


def _joined(base: str, address: str) -> str:
    try:
        return urljoin(base, address)
    except ValueError:  # half an address of IPv6
        return ""


def _origin(url: str) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(url)
        usual = {"http": 80, "https": 443}.get(parts.scheme)
        return parts.scheme, parts.hostname, parts.port or usual
    except ValueError:
        return "", None, None
