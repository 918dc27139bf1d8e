"""The sizes of an image model: ``full`` is upstream's, ``tiny`` has every structural feature and takes seconds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from sam3port.errors import UsageError


@dataclass(frozen=True, slots=True)
class Traits:
    """What a model has, besides its sizes. Decided by the weights: `sam3port.model.checkpoints.survey` finds it out."""

    points: bool = True
    """The detector takes points as examples. Hugging Face's file has no weights for them."""
    clicks: bool = True
    """There is the interactive predictor and the neck that feeds it. A detector alone has none."""
    iou_sigmoid: bool = True
    """The IoU scores of clicks go through a sigmoid. Those of SAM 3.1 do not."""
    fourth_level: bool = True
    """The neck computes a fourth level, which is then dropped. SAM 3.1's does not."""


@dataclass(frozen=True, slots=True)
class Preset:
    """All numbers with which upstream's image model is assembled. Named as upstream's arguments where it has one."""

    name: str
    image_size: int
    """Side of the square input image, pixels."""

    # Vision backbone (sam3/model/vitdet.py, necks.py)
    window_size: int
    """Side of an attention window, patches. Also the grid that the rotary encoding was trained on."""
    pretrain_image_size: int
    """The absolute position embedding covers this image; larger ones get it in tiles."""
    vit_embed_dim: int
    vit_depth: int
    vit_heads: int
    vit_mlp_ratio: float
    vit_global_blocks: tuple[int, ...]
    """Blocks that attend to the whole image; the others attend within windows."""

    # Text encoder (sam3/model/text_encoder_ve.py)
    text_width: int
    text_heads: int
    text_layers: int

    # Geometry encoder, fusion encoder, decoder, heads
    d_model: int
    heads: int
    ffn_dim: int
    geometry_layers: int
    encoder_layers: int
    decoder_layers: int
    num_queries: int

    # Interactive predictor and tracker (sam3/model/sam3_tracker_base.py)
    memory_dim: int
    memory_layers: int
    """Layers of the tracker's memory attention."""
    memory_fuser_layers: int

    patch_size: int = 14
    scale_factors: tuple[float, ...] = (4.0, 2.0, 1.0, 0.5)
    """FPN levels, relative to the patch grid."""
    scalp: int = 1
    """How many of the last FPN levels upstream computes and then drops."""
    text_context: int = 32
    text_vocab: int = 49408
    roi_size: int = 7
    """Side of the grid that a box prompt samples from the features."""
    num_masks: int = 4
    """Masks of the interactive decoder: one, and three for an ambiguous click."""
    traits: Traits = Traits()

    def __post_init__(self) -> None:
        step = self.resolution_step
        if self.image_size < step or self.image_size % step:
            raise UsageError(
                f"{self.name} cannot take images of {self.image_size} pixels: the side must be a multiple of {step} "
                f"(patches of {self.patch_size} pixels in windows of {self.window_size} patches)",
                "for example " + ", ".join(str(step * k) for k in range(1, 5)),
            )

    @property
    def resolution_step(self) -> int:
        """Image sizes are multiples of this: whole windows of whole patches."""
        return self.patch_size * self.window_size

    @property
    def grid(self) -> int:
        """Patches along one side of the image."""
        return self.image_size // self.patch_size

    @property
    def pyramid_sizes(self) -> tuple[tuple[int, int], ...]:
        """(height, width) of every FPN level that is computed, finest first."""
        return tuple((int(self.grid * scale), int(self.grid * scale)) for scale in self.scale_factors)

    @property
    def feature_sizes(self) -> tuple[tuple[int, int], ...]:
        """(height, width) of the FPN levels that the rest of the model reads, finest first: 4g, 2g, g."""
        return self.pyramid_sizes[: len(self.scale_factors) - self.scalp]

    @property
    def text_mlp_dim(self) -> int:
        return self.text_width * 4

    @property
    def mask_size(self) -> int:
        """Side of the masks that the interactive decoder returns and takes."""
        return self.grid * 4

    def at_resolution(self, image_size: int) -> Preset:
        """The same model for another image size. Its weights fit as they are.

        Raises:
            UsageError: the size is not a multiple of `resolution_step`.
        """
        return replace(self, image_size=image_size)

    def with_traits(self, traits: Traits) -> Preset:
        """The same sizes for a model that has these."""
        levels = 4 if traits.fourth_level else 3
        return replace(self, traits=traits, scale_factors=(4.0, 2.0, 1.0, 0.5)[:levels], scalp=levels - 3)


FULL: Final = Preset(
    name="full",
    image_size=1008,
    window_size=24,
    pretrain_image_size=336,
    vit_embed_dim=1024,
    vit_depth=32,
    vit_heads=16,
    vit_mlp_ratio=4.625,
    vit_global_blocks=(7, 15, 23, 31),
    text_width=1024,
    text_heads=16,
    text_layers=24,
    d_model=256,
    heads=8,
    ffn_dim=2048,
    geometry_layers=3,
    encoder_layers=6,
    decoder_layers=6,
    num_queries=200,
    memory_dim=64,
    memory_layers=4,
    memory_fuser_layers=2,
)

TINY: Final = Preset(
    name="tiny",
    image_size=112,
    window_size=4,
    pretrain_image_size=56,
    vit_embed_dim=64,
    vit_depth=4,
    vit_heads=4,
    vit_mlp_ratio=4.625,
    vit_global_blocks=(1, 3),
    text_width=64,
    text_heads=4,
    text_layers=2,
    d_model=64,
    heads=4,
    ffn_dim=128,
    geometry_layers=2,
    encoder_layers=2,
    decoder_layers=3,
    num_queries=20,
    memory_dim=16,
    memory_layers=2,
    memory_fuser_layers=2,
)

PRESETS: Final = {each.name: each for each in (FULL, TINY)}


def preset(name: str, resolution: int | None = None, traits: Traits | None = None) -> Preset:
    """The preset of that name, at another image size when one is given, with these traits instead of SAM 3's own.

    Raises:
        UsageError: the name is unknown, or the architecture does not allow the size.
    """
    if name not in PRESETS:
        raise UsageError(f"there is no preset {name!r}", f"known presets: {', '.join(PRESETS)}")
    chosen = PRESETS[name] if traits is None else PRESETS[name].with_traits(traits)
    return chosen if resolution is None else chosen.at_resolution(resolution)
