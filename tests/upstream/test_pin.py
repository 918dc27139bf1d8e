"""The pin's three places agree: the constants, the submodule entry, and the manifest."""

from __future__ import annotations

from pathlib import Path

import pytest

from sam3port.upstream import manifest, pin
from tests.upstream.conftest import git

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.skipif(not (REPOSITORY / ".git").exists(), reason="the tests do not run in a git checkout")
def test_the_submodule_entry_is_the_pin() -> None:
    assert git(REPOSITORY, "ls-files", "--stage", pin.SUBMODULE).split()[:2] == ["160000", pin.COMMIT]
    settings = git(REPOSITORY, "config", "--file", ".gitmodules", "--list").splitlines()
    assert sorted(settings) == [
        f"submodule.{pin.SUBMODULE}.path={pin.SUBMODULE}",
        f"submodule.{pin.SUBMODULE}.url={pin.REPOSITORY_URL}",
    ]


def test_the_manifest_names_all_that_the_port_can_load() -> None:
    modules = [path for path in manifest.blobs() if path.startswith("sam3/") and path.endswith(".py")]
    assert len(modules) == 140
    assert set(manifest.blobs()) - set(modules) == {"LICENSE", "assets/bpe_simple_vocab_16e6.txt.gz"}


def test_every_file_of_the_manifest_comes_from_exactly_one_wheel() -> None:
    for path in manifest.blobs():
        assert sum(wheel.member(path) is not None for wheel in pin.WHEELS) == 1, path


def test_the_sizes_are_those_of_the_files(upstream_root: Path) -> None:
    """Blob ids and sizes were taken from the commit's tree, the files come from elsewhere: they agree."""
    for path, size in manifest.sizes().items():
        data = (upstream_root / path).read_bytes()
        if b"\r\n" not in data:  # a Windows checkout
            assert len(data) == size, path
        assert manifest.matches(path, data), path
