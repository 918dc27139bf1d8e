"""SAM 3 from an artifact: a picture is encoded once, then answers any number of prompts."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Final, overload

import numpy as np

from sam3port.artifact.hashes import sha256
from sam3port.artifact.manifest import MANIFEST, Manifest
from sam3port.artifact.prompts import pad_tokens
from sam3port.errors import UsageError
from sam3port.runtime import features
from sam3port.runtime import picture as pictures
from sam3port.runtime.artifact import open_artifact
from sam3port.runtime.choose import best
from sam3port.runtime.encoded import EncodedImage
from sam3port.runtime.engine import Engine, Handles
from sam3port.runtime.features import Features
from sam3port.runtime.masks.region import Known
from sam3port.runtime.picture import Picture, Pixels, Prepared
from sam3port.runtime.result import Result
from sam3port.runtime.tiles import Piece, merged, shifted, tiles
from sam3port.runtime.tokens import Tokenizer

__all__ = ["EncodedImage", "Model", "load"]

REMEMBERED_TEXTS: Final = 256
"""How many texts' features are kept, those used last; each takes 33 kB in the full model."""


def load(folder: str | os.PathLike[str], threads: int | None = None, check: bool = False) -> Model:
    """Opens an artifact that ``sam3port build`` made. Needs neither torch nor upstream.

    The first time, every file is read to prove its hash (seconds for gigabytes); weights are then mapped, and memory is
    used as they are.

    Args:
        folder: the artifact.
        threads: of the CPU; all that this process may use, or ``TVM_NUM_THREADS``, unless given.
        check: proves every file's hash again.

    Raises:
        UsageError: the artifact is missing, damaged, made by a newer sam3port or for another machine, or its device is
            absent.
    """
    artifact = open_artifact(Path(folder).expanduser(), check)
    tokenizer, engine = Tokenizer(artifact.tokenizer), Engine(artifact, threads)
    return Model(artifact.manifest, tokenizer, engine, sha256(artifact.folder / MANIFEST))


class Model:
    """An opened artifact. Safe to use from several threads; what they ask for is computed one after the other."""

    def __init__(self, manifest: Manifest, tokenizer: Tokenizer, engine: Engine, identity: str) -> None:
        self.manifest = manifest
        """What the artifact is: sizes, capacity, target, versions."""
        self.tokenizer = tokenizer
        self.identity = identity
        """The sha256 of the artifact's manifest, which has the hashes of all its files."""
        self.engine = engine
        self._text = functools.lru_cache(REMEMBERED_TEXTS)(self._encode_text)

    @overload
    def encode_image(self, picture: Picture | Prepared) -> EncodedImage: ...  # type: ignore[overload-overlap]  # str: a Sequence, too
    @overload
    def encode_image(self, picture: Sequence[Picture]) -> list[EncodedImage]: ...
    def encode_image(self, picture: Picture | Prepared | Sequence[Picture]) -> EncodedImage | list[EncodedImage]:
        """Encodes one picture, or some, one after the other.

        Args:
            picture: a file, an image of Pillow or an array; see `sam3port.runtime.picture.read`. Or what `prepare`
                made of one, or a list of pictures: all are read before the first is encoded.

        Raises:
            UsageError: it cannot be read.
        """
        if isinstance(picture, (list, tuple)):
            return [self._encode(pixels) for pixels in [pictures.read(each) for each in picture]]
        if isinstance(picture, Prepared):
            return self._encode_prepared(picture)
        return self._encode(pictures.read(picture))  # type: ignore[arg-type]

    def prepare(self, picture: Picture) -> Prepared:
        """Reads a picture and makes what `encode_image` feeds the encoder with; another thread may do it ahead.

        Raises:
            UsageError: it cannot be read.
        """
        pixels = pictures.read(picture)
        return Prepared(pixels, pictures.model_input(pixels, self.manifest.sizes.image_size))

    @functools.cached_property
    def feature_specs(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """The shape and dtype of what prompts are answered with, of what the image encoder returns."""
        entries = self.manifest.entries
        read = {spec.name for entry in entries.values() for spec in entry.inputs}
        return {spec.name: (spec.shape, spec.dtype) for spec in entries["encode_image"].outputs if spec.name in read}

    def segment_large(
        self,
        picture: Picture,
        text: str | Sequence[str],
        tile: int = 1008,
        overlap: int = 128,
        threshold: float = 0.5,
        mask_threshold: float = 0.5,
        max_objects: int | None = None,
        nms: float | None = None,
    ) -> Result:
        """Finds every object that fits, tile by tile, each seen as large as a whole picture is otherwise.

        Objects of one text whose masks are the same where their tiles overlap (IoU above one half) are one object.

        Args:
            picture: as of `encode_image`.
            text: as of `EncodedImage.segment`, as are ``threshold`` and what follows; ``nms`` is within each tile.
            tile: side of a tile, pixels of the picture.
            overlap: of neighbours, pixels.

        Raises:
            UsageError: as `EncodedImage.segment`; or the overlap is not smaller than the tile.
        """
        pixels = pictures.read(picture)
        height, width = pixels.shape[:2]
        pieces: list[Piece] = []
        missed: list[float] = []
        texts: tuple[str, ...] = ()
        for part in tiles(height, width, tile, overlap):
            image = self.encode_image(pixels[part.top : part.bottom, part.left : part.right])
            found = image.segment(text, threshold=threshold, mask_threshold=mask_threshold, nms=nms)
            texts = found.texts
            missed += [] if found.best_below is None else [found.best_below]
            offset = np.array([part.left, part.top] * 2, np.float32)
            for index in range(len(found)):
                region = shifted(found.regions[index], part.left, part.top)
                box, score = found.boxes[index] + offset, float(found.scores[index])
                pieces.append(Piece(part, region, box, score, int(found.queries[index]), int(found.asked[index])))
        objects = sorted(merged(pieces), key=lambda piece: piece.asked)
        result = Result(
            regions=Known(tuple(each.region for each in objects), height, width),
            boxes=np.array([each.box for each in objects], np.float32).reshape(-1, 4),
            scores=np.array([each.score for each in objects], np.float32),
            queries=np.array([each.query for each in objects], np.int64),
            texts=texts,
            pixels=pixels,
            asked=np.array([each.asked for each in objects], np.int64),
            best_below=max(missed, default=None),
        )
        return result if max_objects is None else result.take(best(result.scores, max_objects))

    def open_features(self, file: str | os.PathLike[str], picture: Picture | None = None) -> EncodedImage:
        """A picture that was encoded before, by this artifact, and written by `EncodedImage.save`.

        Args:
            file: the features.
            picture: the picture, for those that were written without it.

        Raises:
            UsageError: they are of another artifact or picture; the file is absent or damaged; there is no picture.
        """
        found = features.read(Path(file), self.feature_specs, self.identity)
        pixels = found.pixels if picture is None else pictures.read(picture)
        if pixels is None:
            raise UsageError(f"{os.fspath(file)} holds no picture", "give it, too: open_features(file, picture)")
        if features.digest_of(pixels) != found.digest:
            raise UsageError(f"{os.fspath(file)} was made of another picture", "give that, or encode this one")
        return self.encoded(pixels, found)

    def encoded(self, pixels: Pixels, known: Features) -> EncodedImage:
        """A picture whose features are known: those of these pixels, read for this artifact."""
        return EncodedImage(self, pixels, self.engine.on_device(known.arrays))

    def encode_text(self, text: str) -> Handles:
        """``text_features`` and ``text_mask`` of a text, on the device. Remembered for the next time.

        Warns:
            UserWarning: the text is longer than the model's context, and its end is cut off, as upstream does it.

        Raises:
            UsageError: there is nothing in it.
        """
        return self.encode_texts((text,))

    def encode_texts(self, texts: Sequence[str]) -> Handles:
        """As `encode_text`, of as many texts at once as the build takes prompts (``manifest.capacity.prompts``)."""
        length, tokens = self.manifest.sizes.text_context, []
        for text in texts:
            if not isinstance(text, str) or not text.strip():
                raise UsageError(f"the text is {text!r}", "name what to look for, or leave the text out")
            if not self.tokenizer.fits(text, length):
                warnings.warn(
                    f"the text is longer than {length - 2} tokens, its end is cut off: {text[:40]!r}...", stacklevel=2
                )
            tokens.append(self.tokenizer.encode(text, length).tobytes())
        return self._text(b"".join(tokens))

    def remember_texts(self, texts: Sequence[str]) -> None:
        """Encodes texts, in the groups that `EncodedImage.segment` asks them in, so that it finds them remembered."""
        for start in range(0, len(texts), self.manifest.capacity.prompts):
            self.encode_texts(texts[start : start + self.manifest.capacity.prompts])

    def forget_texts(self) -> None:
        """Frees what is remembered of texts; the next `encode_text` computes again."""
        self._text.cache_clear()

    def _encode_text(self, tokens: bytes) -> Handles:
        texts = np.frombuffer(tokens, np.int64).reshape(-1, self.manifest.sizes.text_context)
        return self.engine.call("encode_text", {"tokens": pad_tokens(texts, self.manifest.capacity)})

    def _encode(self, pixels: Pixels) -> EncodedImage:
        side = self.manifest.sizes.image_size
        return self._encode_prepared(Prepared(pixels, pictures.model_input(pixels, side)))

    def _encode_prepared(self, picture: Prepared) -> EncodedImage:
        found = self.engine.call("encode_image", {"image": picture.model_input})
        # The rest would only occupy the device: positions that are constants, levels that nothing reads.
        read = self.feature_specs
        return EncodedImage(self, picture.pixels, {name: found[name] for name in found if name in read})
