"""What a server does with pictures and prompts, without HTTP."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from sam3port.errors import Sam3PortError, UsageError
from sam3port.runtime import picture as pictures
from sam3port.runtime.encoded import EncodedImage
from sam3port.runtime.features import FeatureFolder, Features, digest_of
from sam3port.runtime.model import Model
from sam3port.runtime.picture import Pixels
from sam3port.serve.images import Images, KeptImage
from sam3port.serve.limits import Limits
from sam3port.serve.refusal import Refusal
from sam3port.serve.worker import PICTURE, PROMPT, Worker

_LOG: Final = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class Service:
    """The model, the pictures and the thread that brings them together. Safe to use from several threads."""

    def __init__(self, model: Model, limits: Limits, folder: FeatureFolder | None = None) -> None:
        """
        Args:
            model: opened.
            limits: what is accepted.
            folder: of the image encoder's results, which are read from there, or kept there.
        """
        self.model = model
        self.limits = limits
        self.images = Images(limits.memory_bytes)
        self._folder = folder
        self._worker = Worker()
        self._expected: float | None = None
        specs = model.feature_specs.values()
        self._feature_bytes = sum(math.prod(shape) * (2 if "16" in dtype else 4) for shape, dtype in specs)

    def add(self, content: bytes, name: str) -> KeptImage:
        """Reads a picture and puts it into the queue of the image encoder.

        Args:
            content: of a file of any kind that `sam3port.runtime.picture.read` knows. It is not trusted.
            name: for people; no file is called so.

        Raises:
            UsageError: it is no picture, damaged or too large.
            Refusal: too many pictures wait.
        """
        self.check_room()
        pixels = _decoded(content)
        image = KeptImage(name, pixels, pixels.nbytes + self._feature_bytes)
        self.images.add(image)
        image.job = self._worker.submit(PICTURE, lambda: self._encode(image))
        return image

    def check_room(self) -> None:
        """Raises Refusal when too many pictures wait; asked before one is received, too."""
        if self._worker.waiting(PICTURE) >= self.limits.waiting_pictures:
            raise Refusal(503, "too many pictures wait to be encoded", "try again later", self._expected or 5)

    def ask(self, image: KeptImage, question: Callable[[EncodedImage], _Result]) -> Future[_Result]:
        """Has a question answered, before pictures that wait to be encoded.

        Raises:
            Refusal: the picture is not encoded, or too many questions wait.
        """
        if image.error is not None:
            raise image.error
        encoded = image.encoded
        if encoded is None:
            raise Refusal(409, "the picture is not encoded yet", f"ask GET /v1/images/{image.id} until it is ready", 1)
        if self._worker.waiting(PROMPT) >= self.limits.waiting_prompts:
            raise Refusal(503, "too many prompts wait for their answers", "try again later", 1)
        return self._worker.submit(PROMPT, lambda: question(encoded))

    def about(self, image: KeptImage) -> dict[str, Any]:
        """A picture's state, as the API says it."""
        place = None if image.job is None else self._worker.place(PICTURE, image.job)
        error = image.error
        return {
            "id": image.id,
            "name": image.name,
            "width": image.width,
            "height": image.height,
            "state": image.state,
            "place": place,
            "progress": image.progress(self._expected),
            "error": None if error is None else {"problem": error.problem, "remedy": error.remedy},
        }

    def close(self) -> None:
        """Drops what waits; what is computed just now comes to its end first."""
        self._worker.close()

    def _encode(self, image: KeptImage) -> None:
        pixels = image.pixels
        if pixels is None:  # forgotten
            return
        image.state, image.began = "encoding", time.monotonic()
        try:
            encoded = self._encoded(pixels)
            if image.pixels is not None:
                image.encoded = encoded
            image.state = "ready"
        except Sam3PortError as error:
            image.error, image.state = error, "failed"
        except Exception:
            _LOG.exception("the image encoder failed")
            image.error, image.state = Sam3PortError("the image encoder failed", "the server's log says why"), "failed"

    def _encoded(self, pixels: Pixels) -> EncodedImage:
        folder, model = self._folder, self.model
        digest = "" if folder is None else digest_of(pixels)
        if folder is not None and (known := folder.get(digest, model.identity, model.feature_specs)) is not None:
            return model.encoded(pixels, known)
        start = time.monotonic()
        encoded = model.encode_image(pixels)
        self._expected = time.monotonic() - start
        arrays = encoded.arrays()
        if folder is not None:
            folder.put(digest, model.identity, arrays)
        # What the encoder returns lies in TVM's larger blocks, which stay occupied as long as it does (measured: three
        # times as much with the preset tiny); copies take what the limit of memory counts.
        return model.encoded(pixels, Features(arrays, digest, None))


def _decoded(content: bytes) -> Pixels:
    try:
        return pictures.read_content(content, "the picture")
    except UsageError as error:
        raise UsageError(error.problem, error.remedy or "send a photograph: JPEG, PNG, WebP, TIFF, ...") from None
