"""A change that should change no kernel changes none: their digests are those recorded.

Here for the preset tiny on three of the five CPUs; ``python -m tests.kernels.generated`` looks at all, and at the
preset full. After a change that should change kernels, its ``--write`` records the new ones.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernels.generated import CPUS, DTYPES, PRESETS, differences, expanded, generated, packed, recorded, versions

SOME = (("x86-64-v3", "float32"), ("znver4", "bfloat16"), ("neoverse-v1", "float32"))


def test_every_kernel_is_as_recorded(tiny_built: Path) -> None:
    kept = recorded()
    if kept["versions"] != versions():
        pytest.skip(f"recorded with {kept['versions']}, here is {versions()}")
    programs = {folder.name: folder / "relax.json" for folder in tiny_built.iterdir() if folder.is_dir()}
    assert not differences(expanded(kept["presets"]["tiny"]), generated(programs, SOME))


def test_both_presets_are_recorded_on_every_cpu_in_every_type() -> None:
    of_presets = {name: expanded(each) for name, each in recorded()["presets"].items()}
    assert set(of_presets) == set(PRESETS)
    for digests in of_presets.values():
        assert set(digests) == {f"{cpu} {dtype}" for cpu in CPUS for dtype in DTYPES}
        assert all(names for components in digests.values() for names in components.values())


def test_what_differs_is_named() -> None:
    before = {"znver4 float32": {"scoring_head": ["linear_1", "softmax_2"]}}
    now = {"znver4 float32": {"scoring_head": ["linear_3", "softmax_2"], "mask_decoder": ["linear_1"]}}
    assert differences(before, before) == []
    assert differences(before, now) == [
        "znver4 float32 scoring_head: linear_1 became linear_3",
        "znver4 float32 mask_decoder: nothing became linear_1",
    ]
    assert expanded(packed(now)) == now
