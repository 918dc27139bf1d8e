"""float_rope: off, TVM refuses the vision backbone's complex rotations; on, it imports it, and the numbers stay."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
import torch

from tests.conftest import RunPython
from tests.patches.conftest import LoadedPython

SMALL = (Path(__file__).parents[1] / "small_stages.py").read_text(encoding="utf-8")

EXPORT = SMALL + dedent(
    """
    from tvm.relax.frontend.torch import from_exported_program

    model = seeded(vit())
    with torch.no_grad():
        program = torch.export.export(model, (numbers(1, 3, RESOLUTION, RESOLUTION),))
    values = [node.meta.get("val") for node in program.graph.nodes]
    print("complex nodes:", sum(isinstance(v, torch.Tensor) and v.is_complex() for v in values))
    module = from_exported_program(program)
    print("imported:", module["main"].params[-1].ty)
    """
)

# Runs with the patch and without; all that it computes goes into one file. The rotations of the models come from a
# checkpoint in upstream's format, so that what is compared is the arithmetic; the fresh ones are compared apart.
NUMBERS = SMALL + dedent(
    """
    import sys
    from sam3.model import vitdet
    from sam3.sam import rope
    from sam3.sam.transformer import RoPEAttention

    out = {}

    def as_pairs(cis):
        return torch.view_as_real(cis).flatten(-2) if cis.is_complex() else cis

    for name, module in (("vitdet", vitdet), ("rope", rope)):
        for dim, side, scale in ((64, 72, 24 / 72), (64, 24, 1.0), (256, 9, 1.0)):
            cis = module.compute_axial_cis(dim, side, side, scale_pos=scale)
            out[f"fresh/{name}/{dim}/{side}"] = as_pairs(cis)
        # The rotations for the next lines are the same in both runs: libm's and PyTorch's sines differ in the last bit.
        angles = numbers(25, 8, seed=7)
        pairs = torch.stack((angles.cos(), angles.sin()), dim=-1)
        cis = torch.view_as_complex(pairs) if "--complex" in MODE else pairs.flatten(-2)
        for dtype in (torch.float32, torch.bfloat16):
            for repeat in (1, 3):
                q = numbers(2, 3, 25, 16, seed=4).to(dtype).requires_grad_()
                k = numbers(2, 3, 25 * repeat, 16, seed=5).to(dtype).requires_grad_()
                turned_q, turned_k = module.apply_rotary_enc(q, k, cis, repeat_freqs_k=repeat > 1)
                (turned_q * numbers(*q.shape, seed=6).to(dtype)).sum().backward(retain_graph=True)
                (turned_k * numbers(*k.shape, seed=8).to(dtype)).sum().backward()
                for part, tensor in (("q", turned_q), ("k", turned_k), ("grad q", q.grad), ("grad k", k.grad)):
                    out[f"apply/{name}/{dtype}/{repeat}/{part}"] = tensor.detach()
        # No keys at all: upstream hands them back as they came.
        _, none = module.apply_rotary_enc(numbers(2, 3, 25, 16), numbers(2, 3, 0, 16), cis)
        out[f"apply/{name}/no keys"] = none

    for name, options in (
        ("windows", {}),
        ("class token", {"retain_cls_token": True, "global_att_blocks": (0, 1, 2, 3), "tile_abs_pos": True}),
    ):
        model = seeded(vit(**options))
        if "--complex" in MODE:
            torch.save(model.state_dict(), f"{name}.pt")
        else:
            model.load_state_dict(torch.load(f"{name}.pt", weights_only=True), strict=True)
        image = numbers(2, 3, RESOLUTION, RESOLUTION).requires_grad_()
        if name == "class token":  # upstream's own output of this variant is broken (a float as a size); its blocks run
            x = numbers(2, 1 + GRID * GRID, 64).requires_grad_()
            result, image = model.blocks[0](x), x
        else:
            result = model(image)[-1]
        (result * numbers(*result.shape, seed=9)).sum().backward()
        out[f"model/{name}/value"] = result.detach()
        out[f"model/{name}/gradient"] = image.grad
        for key, parameter in model.named_parameters():
            if parameter.grad is not None:
                out[f"model/{name}/gradient of {key}"] = parameter.grad

    for real in (False, True):
        for size in (5, 6):  # 5: as built; 6: the rotations are computed anew
            attend = seeded(RoPEAttention(32, 2, rope_k_repeat=True, feat_sizes=(5, 5), use_rope_real=real))
            q, k = numbers(1, size * size, 32), numbers(1, 2 * size * size + 3, 32, seed=2)
            out[f"tracker/{real}/{size}"] = attend(q, k, k, num_k_exclude_rope=3).detach()

    torch.save(out, MODE[-1])
    """
)


@pytest.fixture
def both_runs(upstream_python: RunPython, tmp_path: Path) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """What upstream computes without the patch, and with it, on one checkpoint."""
    for mode, disable in ((["--complex", "off.pt"], ["float_rope"]), (["on.pt"], [])):
        run = upstream_python(f"MODE = {mode!r}\n{NUMBERS}", disable=disable)
        assert run.returncode == 0, run.stderr
    off = torch.load(tmp_path / "off.pt", weights_only=True)
    on = torch.load(tmp_path / "on.pt", weights_only=True)
    assert off.keys() == on.keys()
    assert len(off) > 60
    return off, on


def test_off_tvm_refuses_complex_numbers(upstream_python: RunPython) -> None:
    run = upstream_python(EXPORT, disable=["float_rope"])
    assert run.returncode != 0
    assert "complex nodes: 0" not in run.stdout
    assert "imported" not in run.stdout
    assert "torch.complex64 is not handled yet" in run.stderr.strip().splitlines()[-1]


def test_on_tvm_imports_the_vision_backbone(upstream_python: RunPython) -> None:
    run = upstream_python(EXPORT)
    assert run.returncode == 0, run.stderr
    assert "complex nodes: 0" in run.stdout
    assert "imported" in run.stdout


def test_on_values_and_gradients_are_those_of_complex_arithmetic(
    both_runs: tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]],
) -> None:
    off, on = both_runs
    for name, expected in off.items():
        actual = on[name]
        assert actual.dtype == expected.dtype, name
        assert actual.shape == expected.shape, name
        assert expected.isfinite().all(), name
        if name.startswith("fresh/"):
            # Numbers up to 1, whose last bit two libraries round differently.
            torch.testing.assert_close(actual, expected, rtol=0, atol=2**-23, msg=lambda m, name=name: f"{name}: {m}")
        else:
            rounding = torch.finfo(expected.dtype).eps * 8
            scale = expected.abs().max().item() if expected.numel() else 0.0
            torch.testing.assert_close(
                actual, expected, rtol=rounding, atol=rounding * scale, msg=lambda m, name=name: f"{name}: {m}"
            )


CHECKPOINT = SMALL + dedent(
    """
    model = seeded(vit())
    key = "blocks.0.attn.freqs_cis"
    saved = {k: v.clone() for k, v in model.state_dict().items()}
    assert saved[key].dtype == torch.float32 and saved[key].shape == (16, 16)

    # Upstream's format: complex. Other values than the fresh ones, so that it shows whether they arrive.
    turned = {k: torch.view_as_complex(v.unflatten(-1, (-1, 2))) * 1j if k.endswith("freqs_cis") else v
              for k, v in saved.items()}
    assert sum(v.is_complex() for v in turned.values()) == 4
    before = dict(turned)
    report = model.load_state_dict(turned, strict=True)
    assert not report.missing_keys and not report.unexpected_keys
    assert turned.keys() == before.keys() and all(turned[k] is before[k] for k in turned), "the caller's dict changed"
    assert torch.equal(model.state_dict()[key], torch.view_as_real(turned[key]).flatten(-2))
    assert not torch.equal(model.state_dict()[key], saved[key])

    # Its own format, through a copy of the model (upstream deep-copies modules), and inside a larger one.
    import copy
    other = torch.nn.ModuleDict({"trunk": copy.deepcopy(model)})
    other.load_state_dict({f"trunk.{k}": v for k, v in saved.items()}, strict=True)
    assert torch.equal(other["trunk"].state_dict()[key], saved[key])
    other.load_state_dict({f"trunk.{k}": v for k, v in turned.items()}, strict=True)
    assert torch.equal(other["trunk"].state_dict()[key], torch.view_as_real(turned[key]).flatten(-2))

    # Still errors: a wrong shape, a missing key.
    for wrong, said in (({**turned, key: turned[key][:3]}, "size mismatch"),
                        ({k: v for k, v in turned.items() if k != key}, "Missing key")):
        try:
            model.load_state_dict(wrong, strict=True)
        except RuntimeError as error:
            assert said in str(error) and key in str(error), error
        else:
            raise AssertionError(f"loaded in spite of: {said}")
    print("all loaded")
    """
)


def test_on_checkpoints_load(loaded_python: LoadedPython) -> None:
    run = loaded_python(CHECKPOINT)
    assert run.returncode == 0, run.stderr
    assert "all loaded" in run.stdout
