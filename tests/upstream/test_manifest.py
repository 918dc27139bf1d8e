"""Blob ids are git's own, and what counts as the pinned content of a file."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sam3port.upstream import manifest

DECODER = "sam3/model/decoder.py"


@given(st.binary(max_size=300))
@settings(max_examples=40, deadline=None)
def test_blob_id_is_what_git_says(data: bytes) -> None:
    said = subprocess.run(["git", "hash-object", "--stdin"], input=data, capture_output=True, check=True)
    assert manifest.blob_id(data) == said.stdout.decode().strip()


@pytest.fixture(scope="module")
def decoder(upstream_root: Path) -> bytes:
    return (upstream_root / DECODER).read_bytes().replace(b"\r\n", b"\n")


def test_the_file_as_it_is_matches(decoder: bytes) -> None:
    assert manifest.matches(DECODER, decoder)


def test_line_ends_that_git_changed_on_checkout_match(decoder: bytes) -> None:
    assert manifest.matches(DECODER, decoder.replace(b"\n", b"\r\n"))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_other_byte_does_not_match(decoder: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(decoder) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != decoder[place]))
    changed = decoder[:place] + bytes([byte]) + decoder[place + 1 :]
    assert not manifest.matches(DECODER, changed)
    assert not manifest.matches(DECODER, changed.replace(b"\n", b"\r\n"))


def test_other_changes_of_line_ends_do_not_match(decoder: bytes) -> None:
    assert not manifest.matches(DECODER, decoder.replace(b"\n", b"\r"))
    assert not manifest.matches(DECODER, decoder.replace(b"\n", b"\r\r\n"))
    assert not manifest.matches(DECODER, decoder + b"\n")
    assert not manifest.matches(DECODER, b"")


def test_a_binary_file_has_no_line_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Git converts none in it, so CRLF there is damage."""
    blob = manifest.blob_id(b"a\nb")
    monkeypatch.setattr(manifest, "blobs", lambda: {"x.py": blob, "x.gz": blob})
    assert manifest.matches("x.gz", b"a\nb")
    assert not manifest.matches("x.gz", b"a\r\nb")
    assert manifest.matches("x.py", b"a\r\nb")
