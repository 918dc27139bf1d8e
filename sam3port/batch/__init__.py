"""Very many pictures, on the machines of a Ray cluster; `Segmenter` by itself needs pyarrow only."""

from __future__ import annotations

from sam3port.batch.segmenter import Segmenter

__all__ = ["Segmenter"]
