"""Text as upstream's tokenizer turns it into the text encoder's input."""

from __future__ import annotations

import html
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from sam3port.errors import UsageError

if TYPE_CHECKING:
    import regex

SPECIAL: Final = ("<start_of_text>", "<end_of_text>")
"""Also where they are written out in a text they become these tokens, as upstream has it."""


class Tokenizer:
    """The artifact's ``tokenizer.json``. Gives upstream's ids (sam3/model/tokenizer_ve.py) for any text.

    Text is repaired (``ftfy``), lowered and cut into words here, with the modules that upstream uses: the regular
    expressions of ``tokenizers`` know another version of Unicode and cut thousands of characters otherwise. What a
    word's bytes merge to is the work of ``tokenizers``. Safe to use from several threads.
    """

    def __init__(self, file: Path) -> None:
        """
        Args:
            file: what `sam3port.build.tokenizer.write_tokenizer` wrote.

        Raises:
            UsageError: it is not there, or is no such file.
        """
        import tokenizers

        try:
            self._words = tokenizers.Tokenizer.from_str(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"{file} cannot be read: {error.strerror}", _REMEDY) from error
        except Exception as error:  # the library raises Exception itself; UnicodeDecodeError is one, too
            raise UsageError(f"{file} is not a tokenizer: {error}", _REMEDY) from error
        start, end = (self._words.token_to_id(name) for name in SPECIAL)
        if start is None or end is None:
            raise UsageError(f"{file} has no token {SPECIAL[0] if start is None else SPECIAL[1]}", _REMEDY)
        self._end = end
        self._word = _word_pattern()

    def encode(self, text: str, length: int) -> NDArray[np.int64]:
        """The ids of ``text``, between start and end token, filled up with zeros.

        Args:
            text: anything; empty text is the two special tokens.
            length: of the result, at least 1. What does not fit is cut, and the end token is the last (see `fits`).

        Returns:
            (length,) int64, 0..49407.
        """
        ids = self._ids(text, length)
        if len(ids) > length:
            ids = [*ids[: length - 1], self._end]
        padded = np.zeros(length, np.int64)
        padded[: len(ids)] = ids
        return padded

    def fits(self, text: str, length: int) -> bool:
        """Whether `encode` keeps all of ``text``."""
        return len(self._ids(text, length)) <= length

    def _ids(self, text: str, length: int) -> list[int]:
        """The ids of all of the text, or of enough of it to be more than ``length``: a word is at least one."""
        words = [match.group() for match in islice(self._word.finditer(cleaned(text)), length)]
        ids: list[int] = self._words.encode(words, is_pretokenized=True).ids
        return ids


_REMEDY: Final = "build the artifact again: sam3port build"


def cleaned(text: str) -> str:
    """``text`` without mojibake, HTML entities, capitals and runs of white space (``clean="lower"``,
    tokenizer_ve.py:66-88). Entities are resolved twice: "&amp;lt;" is "<"."""
    import ftfy
    import regex

    plain = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    return str(regex.sub(r"\s+", " ", plain)).strip().lower()


def _word_pattern() -> regex.Pattern[str]:
    """What a word is, the first that fits: a special token, an English ending, letters, one digit, other characters
    that are no white space (tokenizer_ve.py:156). Without regard to case, though text is lowered: a long s stays."""
    import regex

    endings = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
    classes = (r"\p{L}+", r"\p{N}", r"[^\s\p{L}\p{N}]+")
    return regex.compile("|".join((*SPECIAL, *endings, *classes)), regex.IGNORECASE)
