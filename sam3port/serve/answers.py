"""What was found, as the API says it."""

from __future__ import annotations

import base64
import io
from typing import Any, Literal

from PIL import Image

from sam3port.runtime.masks import rle
from sam3port.runtime.picture import Pixels
from sam3port.runtime.result import Clicked, Result


def found(result: Result, form: Literal["rle", "png"]) -> dict[str, Any]:
    """Every object that has pixels, the best first, with the text that it was found for."""
    annotations = result.to_coco(category_id=0)
    names = result.texts or ("object",)
    objects = [_object(annotation, names[annotation["category_id"]], form) for annotation in annotations]
    objects.sort(key=lambda each: -each["score"])
    return {"objects": objects, "best_below": result.best_below}


def clicked(answer: Clicked, form: Literal["rle", "png"]) -> dict[str, Any]:
    """The masks of the object under the clicks that have pixels, the best first."""
    objects = [_object(annotation, "object", form) for annotation in answer.to_coco()]
    objects.sort(key=lambda each: -each["score"])
    return {"objects": objects}


def jpeg(pixels: Pixels) -> bytes:
    """A picture as the model sees it: upright, for browsers that cannot show the file that it came in."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def _object(annotation: dict[str, Any], name: str, form: Literal["rle", "png"]) -> dict[str, Any]:
    mask: Any = annotation["segmentation"]
    if form == "png":
        mask = base64.b64encode(_png(mask)).decode("ascii")
    return {
        "label": name,
        "score": annotation["score"],
        "bbox": annotation["bbox"],
        "area": annotation["area"],
        form: mask,
    }


def _png(mask: rle.Rle) -> bytes:
    """One bit a pixel: white where the object is."""
    height, width = mask["size"]
    stream = io.BytesIO()
    Image.fromarray(rle.decode(mask).mask(height, width)).save(stream, "PNG")
    return stream.getvalue()
