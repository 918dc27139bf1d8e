"""A PyTorch model all the way: exported, imported, optimised, compiled, compared with itself in float64."""

from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.relax.frontend.torch import from_exported_program
from tvm.target import Target

from sam3port.compiler.optimise import TRANSFORM, alone
from sam3port.errors import UsageError
from sam3port.kernels.cpu.pipeline import optimise
from tests.compiled import compiled
from tests.kernels.running import HOST, Array, assert_as_exact, kernels_called

torch = pytest.importorskip("torch")
nn, functional = torch.nn, torch.nn.functional


class Block(nn.Module):  # type: ignore[misc,name-defined,unused-ignore]
    """A transformer block and a head of convolutions: every kernel, and things without one between them."""

    def __init__(self, width: int = 64, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.cross = nn.MultiheadAttention(width, heads, batch_first=True)
        self.scale = nn.Parameter(torch.full((width,), 0.5))
        self.norm3 = nn.GroupNorm(8, width)
        self.convolve = nn.Conv2d(width, 32, 3, padding=1)
        self.enlarge = nn.ConvTranspose2d(32, 16, 2, 2)

    def forward(self, x: Any, prompt: Any, padding: Any) -> tuple[Any, Any, Any]:
        batch, height, width, _ = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(batch, height * width, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        attended = functional.scaled_dot_product_attention(q, k, v)
        attended = attended.view(batch, self.heads, height, width, -1).permute(0, 2, 3, 1, 4)
        x = x + self.scale * self.project(attended.reshape(x.shape))
        x = x + self.down(functional.gelu(self.up(self.norm2(x))))
        tokens = x.flatten(1, 2)
        tokens = tokens + self.cross(tokens, prompt, prompt, key_padding_mask=padding)[0]
        image = functional.gelu(self.enlarge(torch.relu(self.convolve(self.norm3(x.permute(0, 3, 1, 2))))))
        return x, tokens, functional.interpolate(image, scale_factor=2, mode="nearest")


@pytest.fixture(scope="module")
def block() -> Any:
    torch.manual_seed(0)
    return Block().eval()


def inputs(seed: int) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(seed)
    padding = torch.zeros(2, 11, dtype=torch.bool)
    padding[0, 4:] = True
    return (
        torch.randn(2, 6, 7, 64, generator=generator),
        torch.randn(2, 11, 64, generator=generator),
        padding,
    )


def imported(block: Any, *, decompose: bool, keep: bool) -> Any:
    program = torch.export.export(block, inputs(0))
    return from_exported_program(program, keep_params_as_input=keep, run_ep_decomposition=decompose)


def compare(machine: Any, block: Any, parameters: list[Any]) -> None:
    for seed in (1, 2):
        given = inputs(seed)
        with torch.no_grad():
            theirs = block(*given)
            exact = copy.deepcopy(block).double()(given[0].double(), given[1].double(), given[2])
        ours: list[Array] = [
            x.numpy() for x in machine["main"](*[tvm.runtime.tensor(x.numpy()) for x in given], *parameters)
        ]
        for a, b, c in zip(ours, theirs, exact, strict=True):
            assert_as_exact(np.asarray(a), b.numpy(), c.numpy())


@pytest.mark.parametrize("decompose", [False, True])
def test_parameters_as_inputs(block: Any, decompose: bool) -> None:
    module, parameters = relax.frontend.detach_params(imported(block, decompose=decompose, keep=True))
    optimised = optimise(module, HOST)
    calls = set(kernels_called(optimised["main"]))
    assert calls >= {
        "layer_norm",
        "linear_add_vector",
        "linear_add_vector_gelu",
        "linear_add_vector_add_tensor",
        "linear_add_vector_multiply_vector_add_tensor",
        "attention",
        "group_norm",
        "convolution_add_vector_relu",
        "transposed_convolution_add_vector_gelu",
    }
    assert not any(name.startswith("pack") for name in calls), "weights are packed in every call"
    assert "softmax" not in calls, "an attention was not recognised"
    machine = relax.VirtualMachine(compiled(optimised, HOST), tvm.cpu())
    compare(machine, block, list(machine["main_transform_params"](parameters["main"])))


def test_parameters_as_constants(block: Any) -> None:
    module = imported(block, decompose=False, keep=False)
    optimised = optimise(module, HOST)
    assert not any(name.startswith("pack") for name in kernels_called(optimised["main"]))
    compare(relax.VirtualMachine(compiled(optimised, HOST), tvm.cpu()), block, [])


class Queries(nn.Module):  # type: ignore[misc,name-defined,unused-ignore]
    """A decoder whose queries are weights: the first attention among them depends on no input."""

    def __init__(self, width: int = 64, count: int = 32) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(count, width))
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def attend(self, x: Any) -> Any:
        q, k, v = self.qkv(x).reshape(x.shape[0], 3, 4, -1).permute(1, 2, 0, 3).unsqueeze(1).unbind(0)
        attended = functional.scaled_dot_product_attention(q, k, v)[0].permute(1, 0, 2).reshape(x.shape)
        return x + self.project(attended)

    def forward(self, x: Any) -> Any:
        place = torch.arange(self.queries.shape[0]).float().sin().unsqueeze(1)
        return self.attend(self.attend(self.queries + place) + x)


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ({"mcpu": "neoverse-n1", "mattr": ["+bf16"], "mtriple": "aarch64-linux-gnu"}, {"dot"}),
        ({"mcpu": "znver4"}, {"dot", "scaled", "rest"}),
    ],
    ids=["aarch64", "x86_64"],
)
def test_what_is_done_to_weights_alone_needs_no_instruction_of_the_targets(target: Any, named: set[str]) -> None:
    """It is done where the build runs. There LLVM ended the process: the target's instructions are none of its own."""
    torch.manual_seed(0)
    program = torch.export.export(Queries().eval(), (torch.randn(32, 64),))
    kept = from_exported_program(program, keep_params_as_input=True, run_ep_decomposition=False)
    module, parameters = relax.frontend.detach_params(kept)
    optimised = optimise(module, Target({"kind": "llvm", **target}), dtype="bfloat16")

    def called(name: str) -> set[str]:
        return set(re.findall(r'"sam3port_(dot|scaled|rest)_?\w*"', alone(optimised, name).script()))

    assert called("main") == named
    assert called(TRANSFORM) == set()
    machine = relax.VirtualMachine(compiled(alone(optimised, TRANSFORM), HOST), tvm.cpu())
    assert len(machine[TRANSFORM](parameters["main"]))


def test_not_a_cpu(block: Any) -> None:
    with pytest.raises(UsageError, match="LLVM target"):
        optimise(imported(block, decompose=False, keep=True), Target({"kind": "c"}))


def test_unknown_batch(block: Any) -> None:
    """One compiled module for any number of images."""
    batch = torch.export.Dim("batch", min=1, max=8)
    program = torch.export.export(block, inputs(0), dynamic_shapes=({0: batch}, {0: batch}, {0: batch}))
    module = from_exported_program(program, keep_params_as_input=True, run_ep_decomposition=False)
    module, parameters = relax.frontend.detach_params(module)
    optimised = optimise(module, HOST)
    calls = set(kernels_called(optimised["main"]))
    assert calls >= {"attention", "linear_add_vector_gelu", "convolution_add_vector_relu", "layer_norm"}
    machine = relax.VirtualMachine(compiled(optimised, HOST), tvm.cpu())
    prepared = list(machine["main_transform_params"](parameters["main"]))
    for size in (1, 2):
        given = [x[:size] for x in inputs(3)]
        with torch.no_grad():
            theirs = block(*given)
        ours = machine["main"](*[tvm.runtime.tensor(x.numpy()) for x in given], *prepared)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=2e-6)
