"""Token ids against upstream's own SimpleTokenizer."""

from __future__ import annotations

import gzip
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sam3port.build.tokenizer import MERGES, write_tokenizer
from sam3port.errors import UpstreamError, UsageError
from sam3port.patching import install
from sam3port.runtime.tokens import Tokenizer
from sam3port.upstream.source import Upstream

CONTEXT = 32

Theirs = Callable[[str, int], NDArray[np.int64]]

PHRASES = """a truck|person in a blue vest|yellow school bus|the dog's left ear|player #23|it's|they're|we've I'm
you'll|he'd|3 birds|café crème|naïve façade|Straße|ÎLE|İstanbul \u0131I|\u017fmall '\u017f \u212a's|ﬁre ﬂy
日本語 の 車|красный автомобиль|سيارة حمراء|חתול|ไทย|한국어|हिन्दी|e\u0301 a\u0308\u0323|👩\u200d👩\u200d👧 family
🇩🇪 flag|👍🏽|☕\ufe0f cup|①②Ⅳ½٣४|x²|a\u00a0b\u2003c\u3000d|tab\there\nline|zero\u200bwidth\u200djoin\ufeff
\u202eright to left|nul\x00bell\x07\x1b[0m|\x1c\x1d\x1e\x1f\x85|&lt;b&gt; &amp;amp; &#233; &eacute;
&amp;lt;i&amp;gt; &notanentity; &#xD800; &#0; &#x110000;|schÃ¶n âœ” mojibake â€œquotedâ€\x9d|ï¿½ \ufffd \ufffe
<start_of_text>|<end_of_text> a <START_OF_TEXT>|x<start_of_text>y<<end_of_text>>|<\u017ftart_of_text>|<end_of_teXt
&lt;start_of_text&gt;|!!!???...|\'\'\'s\'t\'re|$5.00 + 7%|C++/C#|snake_case|\ud83d\ude00 lone \ud83d \ude00\ud83d
\U0010ffff\U000e0041|"""


@pytest.fixture(scope="module")
def vocabulary(upstream_source: Upstream) -> Path:
    return upstream_source.root / "assets" / "bpe_simple_vocab_16e6.txt.gz"


@pytest.fixture(scope="module")
def file(vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    written = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    write_tokenizer(vocabulary, written)
    return written


@pytest.fixture(scope="module")
def ours(file: Path) -> Tokenizer:
    return Tokenizer(file)


@pytest.fixture(scope="module")
def theirs(vocabulary: Path) -> Theirs:
    if install.current() is None:
        install.install()
    from sam3.model.tokenizer_ve import SimpleTokenizer

    tokenizer: Any = SimpleTokenizer(bpe_path=str(vocabulary))

    def encode(text: str, length: int) -> NDArray[np.int64]:
        ids: NDArray[np.int64] = tokenizer(text, context_length=length)[0].numpy()
        return ids

    return encode


def assert_same(text: str, length: int, ours: Tokenizer, theirs: Theirs) -> None:
    found, expected = ours.encode(text, length), theirs(text, length)
    assert found.dtype == np.int64
    assert found.tolist() == expected.tolist(), f"{text!a} at {length}"


def texts() -> Iterator[str]:
    yield from PHRASES.replace("\n", "|").split("|")
    for phrase in PHRASES.replace("\n", "|").split("|"):
        yield f" {phrase.upper()} {phrase}"
    chance = random.Random(4)
    for _ in range(500):
        data = bytes(chance.randrange(256) for _ in range(chance.randrange(80)))
        yield data.decode("utf-8", "replace")
        yield data.decode("latin-1")
    yield from ("word " * 400, "a" * 3000, "é" * 500, "👍" * 200, "1" * 100, " " * 5000)


def test_ids_are_upstreams_for_all_kinds_of_text(ours: Tokenizer, theirs: Theirs) -> None:
    for text in texts():
        assert_same(text, CONTEXT, ours, theirs)


def test_ids_are_upstreams_for_characters_of_every_unicode_block(ours: Tokenizer, theirs: Theirs) -> None:
    """Blocks begin at multiples of 16: of each 16 characters, four are looked at."""
    ranges = (range(0, 0xD800, 64), range(0xE000, 0x32000, 64), range(0xE0000, 0xE0200, 64), range(0x10FFC0, 0x110000))
    for number, start in enumerate(start for each in ranges for start in each):
        characters = [chr(code) for code in range(start, min(start + 64, 0x110000)) if (code + number) % 4 == 0]
        assert_same("".join(characters), 80, ours, theirs)
        # By itself, too, where it may be an ending, a digit or white space: in Latin, and a sample of the rest.
        if start < 0x300 or number % 61 == 0:
            for character in characters:
                assert_same(f"a{character}'S 7", CONTEXT, ours, theirs)


TEXT = st.text(
    st.characters(exclude_categories=[]) | st.sampled_from("'s\u017ftK\u212ak\u0130reLlmdv <>&;#_0٣½\x1f\u0301 "),
    max_size=60,
)


@settings(max_examples=600, deadline=None)
@given(TEXT, st.integers(1, 80))
@example("a b", 1)
@example("a b", 2)
@example("one two", 4)
@example("one two", 3)
def test_ids_are_upstreams_for_any_text_at_any_length(text: str, length: int) -> None:
    ours, theirs = _both
    assert_same(text, length, ours, theirs)


_both: tuple[Tokenizer, Theirs]


@pytest.fixture(scope="module", autouse=True)
def _for_hypothesis(ours: Tokenizer, theirs: Theirs) -> None:
    """Hypothesis calls a test many times for one set of fixtures; of a module's they may be shared."""
    global _both
    _both = ours, theirs


def test_says_when_text_does_not_fit(ours: Tokenizer, theirs: Theirs) -> None:
    assert ours.fits("", CONTEXT)
    assert ours.fits("word " * 30, CONTEXT)
    assert not ours.fits("word " * 31, CONTEXT)
    cut = ours.encode("word " * 31, CONTEXT)
    assert cut[-1] == theirs("", 2)[-1]
    assert ours.encode("word " * 30, CONTEXT).tolist() == cut.tolist()


def test_text_in_capitals_with_entities_is_the_plain_text(ours: Tokenizer) -> None:
    """The comparison above could not see that upstream's tokenizer is set up to clean nothing."""
    plain = ours.encode("a dog & a cat", CONTEXT).tolist()
    assert plain == ours.encode("  A   DOG\n&amp;amp; a&nbsp;CAT ", CONTEXT).tolist()
    assert len(set(plain)) == 7  # start, a, dog, &, cat, end, nothing


def test_threads_share_a_tokenizer(ours: Tokenizer) -> None:
    given = list(texts())[:200]
    alone = [ours.encode(text, CONTEXT).tolist() for text in given]
    with ThreadPoolExecutor(4) as pool:
        assert [ids.tolist() for ids in pool.map(lambda text: ours.encode(text, CONTEXT), given)] == alone


def test_no_merge_makes_a_token_that_an_earlier_merge_uses(vocabulary: Path) -> None:
    """Then merging the best pair everywhere (upstream) and merging one pair at a time (tokenizers) is the same."""
    lines = gzip.decompress(vocabulary.read_bytes()).decode().split("\n")[1 : MERGES + 1]
    used: set[str] = set()
    made: set[str] = set()
    for line in lines:
        first, second = line.split()
        used |= {first, second}
        made.add(first + second)
        assert first + second not in used
    assert len(made) == MERGES


def test_the_file_is_the_same_every_time(vocabulary: Path, file: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sam3port.build.tokenizer import write_tokenizer;"
        "write_tokenizer(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    subprocess.run([sys.executable, "-c", code, str(vocabulary), str(tmp_path / "again.json")], check=True, timeout=120)
    assert (tmp_path / "again.json").read_bytes() == file.read_bytes()
    assert [each.name for each in tmp_path.iterdir()] == ["again.json"]


@pytest.mark.parametrize("damage", ["cut", "no gzip", "short", "absent"])
def test_another_vocabulary_is_refused(damage: str, vocabulary: Path, tmp_path: Path) -> None:
    given = tmp_path / "bpe.txt.gz"
    lines = gzip.decompress(vocabulary.read_bytes()).decode().split("\n")
    content = {
        "cut": vocabulary.read_bytes()[:100_000],
        "no gzip": b"<html>not found</html>",
        "short": gzip.compress("\n".join(lines[:20_000]).encode()),
    }
    if damage in content:
        given.write_bytes(content[damage])
    with pytest.raises(UpstreamError, match=r"bpe\.txt\.gz"):
        write_tokenizer(given, tmp_path / "tokenizer.json")
    assert not (tmp_path / "tokenizer.json").exists()


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff\xfe", b"[1, 2"])
def test_a_file_that_is_no_tokenizer_is_refused(content: bytes | None, tmp_path: Path) -> None:
    given = tmp_path / "tokenizer.json"
    if content is not None:
        given.write_bytes(content)
    with pytest.raises(UsageError, match=r"tokenizer\.json"):
        Tokenizer(given)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    from tokenizers import Tokenizer as Library
    from tokenizers import models

    given = tmp_path / "tokenizer.json"
    Library(models.BPE(vocab={"a": 0}, merges=[])).save(str(given))
    with pytest.raises(UsageError, match="no token <start_of_text>"):
        Tokenizer(given)


def test_the_runtimes_tokenizer_imports_no_torch(file: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sam3port.runtime.tokens import Tokenizer;"
        "Tokenizer(Path(sys.argv[1])).encode('a dog', 32);"
        "print(sorted({'torch', 'torchvision', 'sam3', 'scipy', 'skimage', 'timm'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr
