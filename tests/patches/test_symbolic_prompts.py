"""symbolic_prompts: off, the number of prompts becomes a constant; on, one export serves any number."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import torch

from tests.conftest import RunPython
from tests.patches.conftest import LoadedPython

SMALL = (Path(__file__).parents[1] / "small_stages.py").read_text(encoding="utf-8")

EXPORT = SMALL + dedent(
    """
    module = Geometry(seeded(geometry_encoder()))
    image = sequence()[:2]
    points, boxes = torch.export.Dim("points", min=2, max=64), torch.export.Dim("boxes", min=2, max=64)
    with torch.no_grad():
        program = torch.export.export(
            module,
            (*image, *prompts(4, 3)),
            dynamic_shapes=({}, {}, {0: points}, {0: points}, {1: points}, {0: boxes}, {0: boxes}, {1: boxes}),
        )
    """
)


def test_off_the_number_of_prompts_becomes_a_constant(upstream_python: RunPython) -> None:
    run = upstream_python(EXPORT, disable=["symbolic_prompts"])
    assert run.returncode != 0
    assert "You marked points as dynamic but your code specialized it to be a constant (4)" in run.stderr
    assert "You marked boxes as dynamic but your code specialized it to be a constant (3)" in run.stderr


def test_on_one_export_serves_any_number(loaded_python: LoadedPython) -> None:
    code = EXPORT + dedent(
        """
        with torch.no_grad():
            for count in ((2, 2), (7, 5), (64, 64)):
                given = (*image, *prompts(*count))
                for expected, actual in zip(module(*given), program.module()(*given), strict=True):
                    assert expected.shape == actual.shape
                    torch.testing.assert_close(actual, expected)
        print("any number")
        """
    )
    run = loaded_python(code)
    assert run.returncode == 0, run.stderr
    assert "any number" in run.stdout


def test_on_values_are_bit_equal(upstream_python: RunPython, tmp_path: Path) -> None:
    code = SMALL + dedent(
        """
        module = Geometry(seeded(geometry_encoder()))
        out = [module(*sequence()[:2], *prompts(*count)) for count in ((3, 2), (0, 2), (3, 0), (0, 0))]
        torch.save(out, NAME)
        encode = module.encoder.pos_enc._encode_xy
        for x, y in ((numbers(3), numbers(4)), (numbers(2, 2), numbers(2, 2))):
            try:
                encode(x, y)
            except AssertionError:
                continue
            raise AssertionError("took what upstream refuses")
        """
    )
    results = []
    for name, disable in (("off.pt", ["symbolic_prompts"]), ("on.pt", [])):
        run = upstream_python(f"NAME = {name!r}\n{code}", disable=disable)
        assert run.returncode == 0, run.stderr
        results.append(torch.load(tmp_path / name, weights_only=True))
    for off, on in zip(*results, strict=True):
        for expected, actual in zip(off, on, strict=True):
            assert torch.equal(expected, actual)
