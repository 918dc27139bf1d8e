"""The server's addresses, and what each does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

import sam3port
from sam3port.errors import Sam3PortError
from sam3port.serve import label_studio
from sam3port.serve.answers import jpeg
from sam3port.serve.guard import Guard
from sam3port.serve.images import KeptImage
from sam3port.serve.questions import Question, click_question, segment_question
from sam3port.serve.refusal import Refusal, response
from sam3port.serve.service import Service

PAGE: Final = Path(__file__).parent / "page"
_OPENAPI: Final = Path(__file__).parent / "openapi.json"
_LONGEST_WAIT: Final = 30.0
_LOOK: Final = 0.05
_NAME: Final = 200
_GONE: Final = 499
"""What nginx logs for a client that did not wait for the answer, which nobody gets."""

_Result = TypeVar("_Result")


def application(
    service: Service, token: str | None = None, labels_from: label_studio.Source | None = None
) -> Starlette:
    """The whole server.

    Args:
        service: is closed when the server ends.
        token: see `sam3port.serve.guard.Guard`.
        labels_from: a Label Studio, which this server is an ML backend of.
    """

    @contextlib.asynccontextmanager
    async def life(_app: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            service.close()

    handlers = _Handlers(service)
    routes: list[BaseRoute] = [
        Route("/", _index),
        Mount("/page", StaticFiles(directory=PAGE)),
        Route("/v1/openapi.json", _openapi),
        Route("/v1/about", handlers.about),
        Route("/v1/images", handlers.add, methods=["POST"]),
        Route("/v1/images/{id}", handlers.look, methods=["GET"]),
        Route("/v1/images/{id}", handlers.drop, methods=["DELETE"]),
        Route("/v1/images/{id}/preview", handlers.preview, methods=["GET"]),
        Route("/v1/images/{id}/segment", handlers.segment, methods=["POST"]),
        Route("/v1/images/{id}/click", handlers.click, methods=["POST"]),
    ]
    if labels_from is not None:
        routes += label_studio.routes(service, labels_from, handlers.body)
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, limits=service.limits, token=token)],
        exception_handlers={
            Sam3PortError: _on_error,
            HTTPException: _on_http,
            ClientDisconnect: _on_gone,
            Exception: _on_fault,
        },
        lifespan=life,
    )


class _Handlers:
    """Of the addresses that use the model."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._uploads = 0

    async def about(self, _request: Request) -> Response:
        service, manifest = self._service, self._service.model.manifest
        capacity = manifest.capacity
        return JSONResponse(
            {
                "version": sam3port.__version__,
                "preset": manifest.preset,
                "weights": manifest.weights,
                "capacity": {"boxes": capacity.boxes, "points": capacity.points},
                "upload_bytes": service.limits.upload_bytes,
                "kept": service.images.as_json(),
            }
        )

    async def add(self, request: Request) -> Response:
        service = self._service
        if self._uploads >= service.limits.uploads:
            raise Refusal(503, "too many pictures arrive at once", "try again later", 1)
        self._uploads += 1
        try:
            service.check_room()
            content = await self.body(request, service.limits.upload_bytes)
            name = request.query_params.get("name", "picture")[:_NAME]
            image = await anyio.to_thread.run_sync(service.add, content, name)
        finally:
            self._uploads -= 1
        if await request.is_disconnected():  # nobody learns its id
            service.images.drop(image.id)
            raise ClientDisconnect
        return JSONResponse(service.about(image), 201, {"Location": f"/v1/images/{image.id}"})

    async def look(self, request: Request) -> Response:
        image = self._image(request)
        try:
            wait = min(max(float(request.query_params.get("wait", "0")), 0.0), _LONGEST_WAIT)
        except ValueError:
            raise Refusal(422, "wait is no number", f"give seconds, at most {_LONGEST_WAIT:g}") from None
        end = time.monotonic() + wait
        while not image.settled and time.monotonic() < end:
            if await request.is_disconnected():
                raise ClientDisconnect
            await asyncio.sleep(_LOOK)
        return JSONResponse(self._service.about(image))

    async def preview(self, request: Request) -> Response:
        image = self._image(request)
        if image.pixels is None:
            raise Refusal(404, "the picture was dropped", "send it again")
        content = await anyio.to_thread.run_sync(jpeg, image.pixels)
        return Response(content, media_type="image/jpeg")

    async def drop(self, request: Request) -> Response:
        self._service.images.drop(request.path_params["id"])
        return Response(status_code=204)

    async def segment(self, request: Request) -> Response:
        image, limits = self._image(request), self._service.limits
        return await self._answer(request, image, segment_question(await self.body(request, limits.body_bytes), limits))

    async def click(self, request: Request) -> Response:
        image, limits = self._image(request), self._service.limits
        return await self._answer(request, image, click_question(await self.body(request, limits.body_bytes)))

    async def _answer(self, request: Request, image: KeptImage, question: Question) -> Response:
        def answered(encoded: Any) -> bytes:  # long lists of masks are written in the worker's thread, too
            size = {"width": image.width, "height": image.height}
            return json.dumps({**size, **question(encoded)}, allow_nan=False).encode()

        content = await _unless_gone(request, self._service.ask(image, answered))
        return Response(content, media_type="application/json")

    def _image(self, request: Request) -> KeptImage:
        return self._service.images.get(request.path_params["id"])

    async def body(self, request: Request, most: int) -> bytes:
        """A request's body, of at most so many bytes."""
        too_large = Refusal(413, f"the body is larger than {most} bytes", "send less")
        with contextlib.suppress(ValueError):
            if int(request.headers.get("content-length", "0")) > most:
                raise too_large
        content = bytearray()
        try:
            async with asyncio.timeout(self._service.limits.upload_seconds):
                async for chunk in request.stream():
                    content += chunk
                    if len(content) > most:
                        raise too_large
        except TimeoutError:
            raise Refusal(408, "the body came too slowly", "send it again, or make it smaller") from None
        if not content:
            raise Refusal(422, "the body is empty", "send a picture's file, or a prompt's JSON, as the body")
        return bytes(content)


async def _unless_gone(request: Request, job: Future[_Result]) -> _Result:
    """The job's result; a job whose client went away is taken from the queue."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    answer, leaving = asyncio.wrap_future(job), asyncio.create_task(gone())
    try:
        both: set[asyncio.Future[Any]] = {answer, leaving}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ClientDisconnect
        if answer.cancelled():
            raise Refusal(503, "the server ends", "ask again when it runs again", 5)
        return answer.result()
    finally:
        leaving.cancel()
        answer.cancel()


async def _index(_request: Request) -> Response:
    return FileResponse(PAGE / "index.html")


async def _openapi(_request: Request) -> Response:
    document = json.loads(_OPENAPI.read_text(encoding="utf-8"))
    document["info"]["version"] = sam3port.__version__
    return JSONResponse(document)


async def _on_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Sam3PortError)
    return response(error)


async def _on_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return response(Refusal(error.status_code, error.detail, "GET /v1/openapi.json says what there is"))


async def _on_gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=_GONE)


async def _on_fault(_request: Request, _error: Exception) -> Response:
    return response(Refusal(500, "the server failed", "its log says why"))
