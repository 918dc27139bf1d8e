from __future__ import annotations

import subprocess
import sys

import pytest

from sam3port.errors import UsageError
from sam3port.model.preset import FULL, PRESETS, TINY, preset


def test_full_has_upstreams_sizes() -> None:
    full = preset("full")
    assert (full.image_size, full.grid, full.window_size) == (1008, 72, 24)
    assert full.pyramid_sizes == ((288, 288), (144, 144), (72, 72), (36, 36))
    assert full.feature_sizes == ((288, 288), (144, 144), (72, 72))
    assert full.mask_size == 288


def test_tiny_keeps_every_structural_feature() -> None:
    tiny = preset("tiny")
    assert tiny.grid > tiny.window_size, "windows must be part of the image"
    blocks = set(range(tiny.vit_depth))
    assert set(tiny.vit_global_blocks) < blocks, "both windowed and global attention"
    assert tiny.vit_depth - 1 in tiny.vit_global_blocks, "upstream returns the features after the last global block"
    assert tiny.image_size > tiny.pretrain_image_size, "the absolute position embedding must be tiled"
    assert (tiny.scale_factors, tiny.scalp) == (FULL.scale_factors, FULL.scalp)
    assert tiny.decoder_layers > 1, "boxes are refined from layer to layer"
    assert min(tiny.encoder_layers, tiny.geometry_layers, tiny.memory_layers, tiny.text_layers) > 1


@pytest.mark.parametrize("each", PRESETS.values(), ids=lambda p: p.name)
def test_rotary_grid_is_the_pretraining_grid(each: object) -> None:
    assert each in (FULL, TINY)
    chosen = FULL if each is FULL else TINY
    assert chosen.window_size == chosen.pretrain_image_size // chosen.patch_size


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="'huge'") as error:
        preset("huge")
    assert "full, tiny" in error.value.remedy


@pytest.mark.parametrize(("name", "size"), [("tiny", 56), ("tiny", 168), ("full", 336), ("full", 672), ("full", 1344)])
def test_resolution(name: str, size: int) -> None:
    other = preset(name, size)
    assert other.image_size == size
    assert other.feature_sizes[0] == (size // 14 * 4, size // 14 * 4)
    assert other.at_resolution(preset(name).image_size) == preset(name)


@pytest.mark.parametrize(("name", "size"), [("full", 1000), ("full", 0), ("full", -336), ("full", 168), ("tiny", 100)])
def test_impossible_resolution(name: str, size: int) -> None:
    with pytest.raises(UsageError, match=f"{size} pixels") as error:
        preset(name, size)
    assert str(preset(name).resolution_step) in error.value.remedy


def test_import_is_cheap() -> None:
    code = (
        "import sys, sam3port.model.preset; print([m for m in ('torch', 'tvm', 'numpy', 'sam3') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
