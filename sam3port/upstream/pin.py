"""Which upstream source the port is made for, and the two wheels that hold it where there is no GitHub."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

REPOSITORY_URL: Final = "https://github.com/facebookresearch/sam3.git"
COMMIT: Final = "d0b1b9d5aafeac07e893ab87e002eaaaa7381802"
SHORT: Final = COMMIT[:12]
SUBMODULE: Final = "external/sam3"
"""Both the path and the name of the submodule."""


@dataclass(frozen=True)
class Wheel:
    """A wheel of the package index that holds files of upstream byte for byte. Unpacked, never installed."""

    name: str
    version: str
    sha256: str
    renamed: dict[str, str]
    """Upstream path -> where the wheel keeps it."""
    package: str | None = None
    """A folder whose files lie in the wheel under upstream's own paths."""

    @property
    def requirement(self) -> str:
        return f"{self.name}=={self.version}"

    def member(self, upstream_path: str) -> str | None:
        """The name in the wheel of the file that is ``upstream_path`` in the repository, or None."""
        if self.package is not None and upstream_path.startswith(self.package):
            return upstream_path
        return self.renamed.get(upstream_path)


# sam3 0.1.0 pins numpy 1.26 and decord, so it must not be installed.
WHEELS: Final = (
    Wheel(
        name="sam3",
        version="0.1.0",
        sha256="a10dc82f4492a79f1111c21bf62c5e17332c15d90ea3b5b01e08eeaec47ff864",
        package="sam3/",
        renamed={"LICENSE": "sam3-0.1.0.dist-info/licenses/LICENSE"},
    ),
    Wheel(
        name="open_clip_torch",
        version="3.3.0",
        sha256="c549ad5ed6bfc119cc11105033c0a2b9d7a2a4afeb40a58a09aab3da1a0043ce",
        renamed={"assets/bpe_simple_vocab_16e6.txt.gz": "open_clip/bpe_simple_vocab_16e6.txt.gz"},
    ),
)
