"""static_shapes: off, torch.export of the decoder stops at a data-dependent guard; on, it traces, values unchanged."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import torch

from tests.conftest import RunPython
from tests.patches.conftest import LoadedPython

SMALL = (Path(__file__).parents[1] / "small_stages.py").read_text(encoding="utf-8")

SETUP = SMALL + dedent(
    """
    inputs = sequence()
    size = torch.tensor([[GRID, GRID]])
    """
)


def test_off_export_meets_a_data_dependent_guard(upstream_python: RunPython) -> None:
    code = SETUP + "torch.export.export(Decoding(seeded(decoder()), size), inputs)\n"
    run = upstream_python(code, disable=["static_shapes"])
    assert run.returncode != 0
    assert "Could not guard on data-dependent expression" in run.stderr
    assert "in _get_rpb_matrix" in run.stderr
    assert "compilable_stored_size" in run.stderr


def test_off_plain_ints_are_refused(upstream_python: RunPython) -> None:
    code = SETUP + "Decoding(seeded(decoder()), ((GRID, GRID),))(*inputs)\n"
    run = upstream_python(code, disable=["static_shapes"])
    assert run.returncode != 0
    assert run.stderr.strip().splitlines()[-1] == "AttributeError: 'tuple' object has no attribute 'shape'"


def test_on_the_decoder_exports(loaded_python: LoadedPython) -> None:
    code = SETUP + dedent(
        """
        def leaves(out):
            return [t for t in torch.utils._pytree.tree_leaves(out) if isinstance(t, torch.Tensor)]

        def check(what, module, inputs):
            program = torch.export.export(module, inputs)
            for expected, actual in zip(leaves(module(*inputs)), leaves(program.module()(*inputs)), strict=True):
                assert torch.equal(expected, actual), what
            return program

        with torch.no_grad():
            built = seeded(decoder())
            check("ints", Decoding(built, ((GRID, GRID),)), inputs)
            check("a tensor of the size that it was built for", Decoding(built, size), inputs)
            check("a tensor as an input", Decoding(built), (*inputs, size))
            other = seeded(decoder(2 * RESOLUTION))
            check("a size that it was not built for", Decoding(other, ((GRID, GRID),)), inputs)

            # Nothing traced stays behind in the module, whichever way it was built.
            for resolution in (None, 2 * RESOLUTION):
                module = Decoding(seeded(decoder(resolution)), ((GRID, GRID),))
                before = module.decoder.compilable_stored_size
                torch.export.export(module, inputs)
                assert module.decoder.compilable_stored_size == before
                assert not module.decoder.coord_cache
                module(*inputs)

            # Batch and prompt length may stay symbolic; another size of each gives what the module gives.
            batch, length = torch.export.Dim("batch", min=2, max=8), torch.export.Dim("length", min=2, max=64)
            module = Decoding(built, ((GRID, GRID),))
            program = torch.export.export(
                module, inputs, dynamic_shapes=({1: batch}, {1: batch}, {0: length, 1: batch}, {0: batch, 1: length})
            )
            other = (*sequence(batch=3)[:2], numbers(11, 3, WIDTH, seed=3), torch.zeros(3, 11, dtype=torch.bool))
            for expected, actual in zip(leaves(module(*other)), leaves(program.module()(*other)), strict=True):
                torch.testing.assert_close(actual, expected)
        print("exported")
        """
    )
    run = loaded_python(code)
    assert run.returncode == 0, run.stderr
    assert "exported" in run.stdout


def test_on_an_unknown_size_says_what_to_do(loaded_python: LoadedPython) -> None:
    code = SETUP + "torch.export.export(Decoding(seeded(decoder(2 * RESOLUTION)), size), inputs)\n"
    run = loaded_python(code)
    assert run.returncode != 0
    assert "memory has 64 tokens, and the decoder was built for 16x16" in run.stderr
    assert "pass spatial_shapes as plain ints" in run.stderr


def test_on_values_are_bit_equal(upstream_python: RunPython, tmp_path: Path) -> None:
    code = SETUP + dedent(
        """
        out = {}
        for resolution in (None, RESOLUTION, 2 * RESOLUTION):  # built for no size, for this one, for another
            module = Decoding(seeded(decoder(resolution)), size)
            for call in range(2):  # the second one finds the cache as the first left it
                memory = inputs[0].clone().requires_grad_()
                boxes = module(memory, *inputs[1:])
                sum(t.sum() for t in boxes).backward()
                out[f"{resolution}/{call}"] = [*(t.detach() for t in boxes), memory.grad]
        torch.save(out, NAME)
        """
    )
    results = []
    for name, disable in (("off.pt", ["static_shapes"]), ("on.pt", [])):
        run = upstream_python(f"NAME = {name!r}\n{code}", disable=disable)
        assert run.returncode == 0, run.stderr
        results.append(torch.load(tmp_path / name, weights_only=True))
    off, on = results
    assert off.keys() == on.keys()
    assert len(off) == 6
    for key, tensors in off.items():
        for expected, actual in zip(tensors, on[key], strict=True):
            assert torch.equal(expected, actual), key
