"""Upstream's BPE vocabulary as a ``tokenizer.json`` of the library ``tokenizers``."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Final

from sam3port.errors import UpstreamError

MERGES: Final = 48_894
"""Lines of the vocabulary that the model knows (49152 - 256 - 2, tokenizer_ve.py:144); the file holds more."""

SPECIAL: Final = ("<start_of_text>", "<end_of_text>")
"""The last two ids, in this order (tokenizer_ve.py:150)."""

END_OF_WORD: Final = "</w>"


def write_tokenizer(bpe_file: Path, file: Path) -> None:
    """Writes ``file``, of a folder that is put in place whole, from upstream's ``assets/bpe_simple_vocab_16e6.txt.gz``.

    Ids are those of upstream's ``SimpleTokenizer`` (tokenizer_ve.py:128): the 256 bytes, the bytes at a word's end, a
    token for each merge, the two special tokens: 49408. What lies in the file maps a word's bytes and merges them;
    cutting text into words is `sam3port.runtime.tokens.Tokenizer`'s, because it takes the module ``regex`` to cut
    exactly as upstream does. The same input gives the same bytes.

    Raises:
        UpstreamError: ``bpe_file`` cannot be read, or does not hold that vocabulary.
    """
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors

    merges = _merges(bpe_file)
    characters = _byte_characters()
    names = [*characters, *(c + END_OF_WORD for c in characters), *(a + b for a, b in merges), *SPECIAL]
    ids = {name: index for index, name in enumerate(names)}
    if len(ids) != len(names):
        raise UpstreamError(f"{bpe_file} makes the same token twice", _REMEDY)
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges, end_of_word_suffix=END_OF_WORD))
    # One word at a time comes here: nothing is split, bytes become the characters that the merges are written in.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in SPECIAL])
    start, end = SPECIAL
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(name, ids[name]) for name in SPECIAL]
    )
    file.write_text(tokenizer.to_str() + "\n", encoding="utf-8")


_REMEDY: Final = "`sam3port upstream fetch` gets the pinned source; or give a whole checkout with --upstream"


def _merges(bpe_file: Path) -> list[tuple[str, str]]:
    """Pairs of tokens in the order in which they are merged; the first line is a title."""
    try:
        lines = gzip.decompress(bpe_file.read_bytes()).decode("utf-8").split("\n")[1 : MERGES + 1]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UpstreamError(f"{bpe_file} cannot be read as a BPE vocabulary: {error}", _REMEDY) from error
    pairs = [line.split() for line in lines]
    whole = [(first, second) for first, second in (pair for pair in pairs if len(pair) == 2)]
    if len(whole) != MERGES:
        raise UpstreamError(f"{bpe_file} holds {len(whole)} merges of the {MERGES} that the model knows", _REMEDY)
    return whole


def _byte_characters() -> list[str]:
    """The character that stands for each byte, in the order of upstream's ids: printable ones stand for themselves
    and come first, the others are written as characters from U+0100 on (tokenizer_ve.py:29)."""
    printable = [byte for byte in range(256) if 0x21 <= byte <= 0x7E or (byte >= 0xA1 and byte != 0xAD)]
    return [chr(byte) for byte in printable] + [chr(0x100 + k) for k in range(256 - len(printable))]
