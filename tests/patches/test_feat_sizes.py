"""feat_sizes: off, the fusion encoder refuses the maps that it says it expects; on, it takes them."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import torch

from tests.conftest import RunPython
from tests.patches.conftest import LoadedPython

SMALL = (Path(__file__).parents[1] / "small_stages.py").read_text(encoding="utf-8")

SETUP = SMALL + dedent(
    """
    import sys
    features, positions, prompt, prompt_mask = sequence(batch=3)

    def as_map(x):
        return x.reshape(GRID, GRID, *x.shape[1:]).permute(2, 3, 0, 1).contiguous()
    """
)

MAPS = SETUP + dedent(
    """
    encoder = Fusion(seeded(fusion_encoder()), None)
    encoder(as_map(features), as_map(positions), prompt, prompt_mask)
    """
)


def test_off_the_assertion_compares_a_method(upstream_python: RunPython) -> None:
    run = upstream_python(MAPS, disable=["feat_sizes"])
    assert run.returncode != 0
    assert run.stderr.strip().splitlines()[-1] == "AssertionError: expected list of (bs, c, h, w) tensors"


def test_on_maps_give_what_sequences_give(loaded_python: LoadedPython) -> None:
    code = SETUP + dedent(
        """
        for options in ({}, {"add_pooled_text_to_img_feat": True}):
            encoder = seeded(fusion_encoder(**options))
            one = Fusion(encoder, [(GRID, GRID)])(features.clone(), positions, prompt, prompt_mask)
            other = Fusion(encoder, None)(as_map(features), as_map(positions), prompt, prompt_mask)
            for expected, actual in zip(one, other, strict=True):
                torch.testing.assert_close(actual, expected)

        # With padding masks too: (B, H, W) beside maps, (H * W, B) beside sequences.
        mask = torch.zeros(3, GRID, GRID, dtype=torch.bool)
        mask[1, :, 5:] = True
        common = {"prompt": prompt, "prompt_key_padding_mask": prompt_mask}
        maps = encoder([as_map(features)], src_pos=[as_map(positions)], src_key_padding_mask=[mask], **common)
        flat = encoder([features.clone()], src_pos=[positions], feat_sizes=[(GRID, GRID)],
                       src_key_padding_mask=[mask.flatten(1).transpose(0, 1)], **common)
        for key in ("memory", "padding_mask", "valid_ratios", "pos_embed", "spatial_shapes"):
            torch.testing.assert_close(maps[key], flat[key], msg=lambda m: f"{key}: {m}")

        # What is no map is still refused.
        try:
            encoder([features], src_pos=[positions], **common)
        except AssertionError as error:
            assert str(error) == "expected list of (bs, c, h, w) tensors"
        else:
            raise AssertionError("took a sequence without its size")

        program = torch.export.export(Fusion(encoder, None), (as_map(features), as_map(positions), prompt, prompt_mask))
        for expected, actual in zip(other, program.module()(as_map(features), as_map(positions), prompt, prompt_mask)):
            torch.testing.assert_close(actual, expected)
        print("equal")
        """
    )
    run = loaded_python(code)
    assert run.returncode == 0, run.stderr
    assert "equal" in run.stdout


def test_on_sequences_are_unchanged(upstream_python: RunPython, tmp_path: Path) -> None:
    code = SETUP + dedent(
        """
        out = Fusion(seeded(fusion_encoder()), [(GRID, GRID)])(features, positions, prompt, prompt_mask)
        torch.save(out, NAME)
        """
    )
    results = []
    for name, disable in (("off.pt", ["feat_sizes"]), ("on.pt", [])):
        run = upstream_python(f"NAME = {name!r}\n{code}", disable=disable)
        assert run.returncode == 0, run.stderr
        results.append(torch.load(tmp_path / name, weights_only=True))
    for expected, actual in zip(*results, strict=True):
        assert torch.equal(expected, actual)
