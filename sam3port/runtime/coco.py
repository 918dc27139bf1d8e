"""What is around the pictures and objects in a file of COCO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def document(
    images: list[dict[str, Any]], annotations: list[dict[str, Any]], categories: Sequence[str], run: dict[str, Any]
) -> dict[str, Any]:
    """The file's content.

    Args:
        images: COCO's entries.
        annotations: the same of objects.
        categories: what the texts were; their ids count from 1.
        run: what was asked, kept in ``info``.
    """
    import sam3port

    return {
        "info": {"description": "objects found by SAM 3", "version": f"sam3port {sam3port.__version__}", "run": run},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in enumerate(categories, 1)],
    }
