"""Shared modules compute once for each input, and give what they would have computed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sam3port.verify.shared import remember_shared


class Trunk(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.calls = 0

    def forward(self, x: torch.Tensor, twice: bool = False) -> list[torch.Tensor]:
        self.calls += 1
        return [self.linear(x) * (2 if twice else 1)]


class Stage(nn.Module):
    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk = trunk
        self.own = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor, twice: bool = False) -> torch.Tensor:
        (found,) = self.trunk(x, twice=twice)
        result: torch.Tensor = self.own(found.add_(1))  # in place: what is kept must not change
        return result


@pytest.fixture
def stages() -> tuple[Stage, Stage]:
    torch.manual_seed(0)
    trunk = Trunk()
    return Stage(trunk).eval(), Stage(trunk).eval()


def test_what_is_shared_is_computed_once(stages: tuple[Stage, Stage]) -> None:
    inputs = [torch.randn(2, 3), torch.randn(2, 3), torch.randn(4, 3)]
    with torch.no_grad():
        expected = [[stage(x) for x in inputs] for stage in stages]
        trunk = stages[0].trunk
        assert trunk.calls == 6
        assert remember_shared(stages, least=1) == [trunk], "the largest module that both hold, and no more"
        found = [[stage(x) for x in inputs] for stage in stages]
    assert trunk.calls == 6 + len(inputs)
    for one, other in zip(expected, found, strict=True):
        for a, b in zip(one, other, strict=True):
            assert torch.equal(a, b)


def test_other_arguments_and_other_bytes_are_other_inputs(stages: tuple[Stage, Stage]) -> None:
    remember_shared(stages, least=1)
    trunk, x = stages[0].trunk, torch.randn(2, 3)
    nearly = x.clone()
    nearly[-1, -1] = torch.nextafter(nearly[-1, -1], torch.tensor(9.0))
    with torch.no_grad():
        for given, twice in ((x, False), (x, True), (nearly, False), (x.double().float(), False)):
            stages[0](given, twice=twice)
        # -0.0 equals 0.0, but its bytes are others.
        stages[0](torch.zeros(1, 3))
        stages[0](-torch.zeros(1, 3))
    assert trunk.calls == 5


def test_small_modules_and_modules_of_one_component_are_left_alone(stages: tuple[Stage, Stage]) -> None:
    assert remember_shared(stages, least=13) == []
    assert remember_shared(stages[:1], least=1) == []
