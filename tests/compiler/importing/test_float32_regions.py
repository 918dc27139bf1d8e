"""What upstream keeps from autocast stays float32 in a bfloat16 build, and means nothing in others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import tvm
from torch import nn
from tvm import relax

from sam3port.compiler.export import export_module
from sam3port.compiler.importing import program as importing
from sam3port.compiler.importing.decompose import decompose
from sam3port.compiler.importing.float32_regions import wants_float32
from sam3port.kernels.cpu.dispatch import dispatch
from sam3port.kernels.cpu.pipeline import optimise
from tests.compiled import compiled
from tests.compiler.importing.conftest import CONVERTERS
from tests.kernels.running import HOST, kernels_called
from tests.kernels.stand_in import PAIRED, stand_in

__all__ = ["stand_in"]


class Layers(nn.Module):
    """A layer that autocast may have, and two results of what it may not."""

    def __init__(self, enabled: bool) -> None:
        super().__init__()
        self.enabled = enabled
        self.first, self.second, self.third = (nn.Linear(8, 8) for _ in range(3))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = self.first(x)
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=self.enabled):
            y = self.second(x).relu()
            z = y @ x.transpose(-1, -2)
        return self.third(y), z, x


@pytest.fixture
def program() -> Any:
    torch.manual_seed(0)
    return export_module(Layers(enabled=False), {"x": torch.ones(3, 8).numpy()})


def test_the_operators_of_a_region_are_marked_and_no_others(program: Any) -> None:
    assert any("wrap_with_autocast" in str(node.target) for node in program.graph.nodes), "torch keeps no region here"
    nodes = [node for node in decompose(program, CONVERTERS).graph.nodes if node.op == "call_function"]
    assert not any("autocast" in str(node.target) for node in nodes)
    marks = [wants_float32(node) for node in nodes if node.target is torch.ops.aten.linear.default]
    assert marks == [False, True, False]
    (product,) = (node for node in nodes if node.target is torch.ops.aten.matmul.default)
    assert wants_float32(product)


def test_a_dissolved_program_computes_the_same(program: Any) -> None:
    x = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    expected = program.module()(x)
    for ours, theirs in zip(decompose(program, CONVERTERS).module()(x), expected, strict=True):
        assert torch.equal(ours, theirs)


def test_a_region_with_autocast_stays() -> None:
    """It is none of ours: torch decomposes it."""
    other = export_module(Layers(enabled=True), {"x": torch.ones(3, 8).numpy()})
    nodes = decompose(other, CONVERTERS).graph.nodes
    assert not any(wants_float32(node) for node in nodes)


@pytest.mark.parametrize(("dtype", "kept_in_float32"), [("float32", 3), ("bfloat16", 1)])
def test_kernels_round_what_may_be_rounded(program: Any, dtype: str, kept_in_float32: int) -> None:
    """Three weights: in bfloat16 only that of the region is packed as float32."""
    module = dispatch(HOST, dtype=dtype)(importing.import_program(program, CONVERTERS).module)
    bindings = [binding for block in module["main"].body.blocks for binding in block.bindings]
    calls = [b for b in bindings if getattr(getattr(b.value, "op", None), "name", "") == "relax.call_tir"]
    packed = [str(b.var.ty.dtype) for b in calls if b.value.args[0].name_hint.startswith("pack_weight")]
    assert len(packed) == 3
    assert packed.count("float32") == kept_in_float32


class Attention(nn.Module):
    """Twice the same, the second time where autocast is switched off."""

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        attention = nn.functional.scaled_dot_product_attention
        with torch.autocast(x.device.type, enabled=False):
            exact = attention(x, x, x, attn_mask=mask)
        return attention(x, x, x, attn_mask=mask), exact


@pytest.mark.usefixtures("stand_in")
def test_attention_in_a_region_rounds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sam3port.kernels.cpu.dispatch.cpu_of", lambda *_: PAIRED.cpu)
    x = torch.randn(1, 2, 40, 32, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(40, 40, dtype=torch.bool).tril()
    mask[3] = False
    program = export_module(Attention(), {"x": x.numpy(), "mask": mask.numpy()})
    module = optimise(importing.import_program(program, CONVERTERS).module, HOST, dtype="bfloat16")
    assert kernels_called(module["main"]).count("attention") == 2
    machine = relax.VirtualMachine(compiled(module, HOST), tvm.cpu())
    given = [tvm.runtime.tensor(array) for array in (x.numpy(), mask.numpy())]
    rounded, exact = (np.asarray(result.numpy()) for result in machine["main"](*given))
    expected = program.module()(x, mask)[1].numpy()
    assert np.abs(exact - expected).max() < 1e-6
    assert 1e-4 < np.abs(rounded - expected).max() < 3e-2
