"""Checkpoints named as on Hugging Face's hub: ``hf:facebook/sam3``. Fetched once, with the user's own token."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import filelock

from sam3port.artifact.hashes import Hashes, sha256
from sam3port.cache.places import cache_root, not_writable
from sam3port.errors import UsageError
from sam3port.model.checkpoints.errors import CheckpointError

PREFIX: Final = "hf:"
_NAME: Final = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+?)(@(?P<revision>[\w.-]+))?(/(?P<file>[\w./-]+))?")
_SHA256: Final = re.compile("[0-9a-f]{64}")
_BY_HAND: Final = "or fetch the file elsewhere, and give its path"


@dataclass(frozen=True, slots=True)
class Published:
    """A file on the hub that is known."""

    file: str
    sha256: str


PUBLISHED: Final = {
    "facebook/sam3": (
        # The first is the one that is meant when no file is named: it has the weights for points, too.
        Published("sam3.pt", "9999e2341ceef5e136daa386eecb55cb414446a00ac2b55eb2dfd2f7c3cf8c9e"),
        Published("model.safetensors", "6d06f0a5f84e435071fe6603e61d0b4cc7b40e0d39d487cfd4d67d8cc11cc14a"),
    ),
    "facebook/sam3.1": (
        Published("sam3.1_multiplex.pt", "0567debeec80ba4ac6369540c6c248025283cb3ff2b92827509e57e2b3541cb6"),
    ),
}
"""By repository."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A file on the hub."""

    repo: str
    file: str
    revision: str
    sha256: str | None
    """As published; None where it is not known beforehand."""

    def __str__(self) -> str:
        return f"{PREFIX}{self.repo}/{self.file}"


def is_remote(path: Path) -> bool:
    """Whether what was given as a path means a file on the hub."""
    return path.as_posix().startswith(PREFIX)


def parse(name: str) -> Remote:
    """``hf:OWNER/NAME``, ``hf:OWNER/NAME/FILE``, each also with ``@REVISION`` behind the repository's name.

    Raises:
        CheckpointError: it has another form, or no file is named in a repository that is not known.
    """
    match = _NAME.fullmatch(name)
    if match is None or ".." in name:
        raise CheckpointError(f"{name} is no name of a file on Hugging Face's hub", "write hf:OWNER/NAME/FILE")
    repo, file, revision = match["repo"], match["file"], match["revision"]
    known = PUBLISHED.get(repo, ())
    if file is None and not known:
        raise CheckpointError(f"{name} names no file", f"say which: {name}/FILE")
    file = file or known[0].file
    published = next((each.sha256 for each in known if each.file == file and revision is None), None)
    return Remote(repo, file, revision or "main", published)


def fetch(remote: Remote, say: Callable[[str], None]) -> Path:
    """The file on this machine. What was fetched before, by sam3port or by other programs, is not asked for again.

    A download that was interrupted goes on where it stopped.

    Args:
        remote: what is wanted.
        say: is told the size before anything is fetched.

    Raises:
        CheckpointError: no access, no network, or what came is not what was published.
    """
    if found := _in_hubs_cache(remote):
        return found
    folder = cache_root() / "checkpoints" / remote.repo.replace("/", "--") / remote.revision
    file = folder / remote.file
    if file.is_file():
        return file
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(file.with_name(f"{file.name}.lock")):
            if not file.is_file():  # another process may have fetched it meanwhile
                _download(remote, file, say)
    except OSError as error:
        raise not_writable(folder, error) from error
    return file


def _in_hubs_cache(remote: Remote) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(remote.repo, remote.file, revision=remote.revision)
    if not isinstance(found, str):
        return None
    file = Path(found)
    if remote.sha256 is not None:
        hashes = Hashes(file.parent)
        same = hashes.of(file.name) == remote.sha256
        hashes.remember()
        if not same:
            return None
    return file


def _download(remote: Remote, file: Path, say: Callable[[str], None]) -> None:
    from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_url
    from huggingface_hub.file_download import http_get

    token = get_token()
    url = hf_hub_url(remote.repo, remote.file, revision=remote.revision)
    part = file.with_name(f"{file.name}.part")
    try:
        about = get_hf_file_metadata(url, token=token)
        if about.size is None:
            raise CheckpointError(f"{remote} has no size, which a file on the hub always has", _BY_HAND)
        there = _usable(part, about.size)
        rest = f", {there / 1e9:.2f} GB of it are there" if there else ""
        say(f"fetching {remote}: {about.size / 1e9:.2f} GB{rest}, into {file.parent}")
        # A token is for the hub alone, not for where it sends us.
        headers = {"authorization": f"Bearer {token}"} if token and _same_host(url, about.location) else {}
        with part.open("ab") as stream:
            http_get(
                about.location,
                stream,
                resume_size=there,
                headers=headers,
                expected_size=about.size,
                displayed_filename=remote.file,
            )
    except UsageError:
        raise
    except Exception as error:
        raise _refusal(remote, error) from error
    published = remote.sha256 or (about.etag if about.etag and _SHA256.fullmatch(about.etag) else None)
    found = sha256(part)
    if published is not None and found != published:
        part.unlink()
        raise CheckpointError(
            f"what came for {remote} is not what was published: its sha256 is {found[:12]}..., not {published[:12]}...",
            f"fetch it again; if that does not help, it was replaced: {_BY_HAND}",
        )
    part.replace(file)


def _usable(part: Path, size: int) -> int:
    """How many bytes of an earlier download can be built upon."""
    there = part.stat().st_size if part.is_file() else 0
    if there >= size:
        part.unlink()
        return 0
    return there


def _same_host(url: str, location: str) -> bool:
    from urllib.parse import urlsplit

    return urlsplit(url).netloc == urlsplit(location).netloc


def _refusal(remote: Remote, error: Exception) -> CheckpointError:
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, (GatedRepoError, LocalTokenNotFoundError)):
        return CheckpointError(
            f"Hugging Face gives you no access to {remote.repo}",
            f"ask for it at https://huggingface.co/{remote.repo}, then log in: hf auth login (or set HF_TOKEN)",
        )
    if isinstance(error, RepositoryNotFoundError):
        return CheckpointError(
            f"there is no {remote.repo} on Hugging Face, or it is private", "log in: hf auth login (or set HF_TOKEN)"
        )
    if isinstance(error, (EntryNotFoundError, RevisionNotFoundError)):
        return CheckpointError(
            f"{remote.repo} has no file {remote.file} in {remote.revision}", "see what it has on its page on the hub"
        )
    if isinstance(error, OfflineModeIsEnabled):
        return CheckpointError(f"{remote} is not on this machine, and HF_HUB_OFFLINE is set", f"unset it, {_BY_HAND}")
    if isinstance(error, HfHubHTTPError) and error.response is not None and error.response.status_code in (401, 403):
        return CheckpointError(
            f"Hugging Face refuses {remote.repo} (status {error.response.status_code})",
            "log in with a token that may read it: hf auth login (or set HF_TOKEN)",
        )
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return CheckpointError(f"{remote} cannot be fetched: {said}", f"try again: it goes on where it stopped, {_BY_HAND}")
