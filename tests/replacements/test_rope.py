"""Rotations in real arithmetic against PyTorch's complex numbers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from sam3port.replacements.rope import load_complex_freqs_cis, rotate_pairs, rotations


def complex_product(x: Tensor, cis: Tensor) -> Tensor:
    """Upstream's way: pairs as complex numbers."""
    pairs, turns = (torch.view_as_complex(t.reshape(*t.shape[:-1], t.shape[-1] // 2, 2)) for t in (x, cis))
    return torch.view_as_real(pairs * turns).flatten(-2)


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rotations_have_the_memory_of_the_complex_ones(dtype: torch.dtype) -> None:
    angles = numbers(9, 4, dtype=dtype) * 50
    expected = torch.view_as_real(torch.polar(torch.ones_like(angles), angles)).flatten(-2)
    actual = rotations(angles)
    assert actual.shape == (9, 8)
    assert actual.dtype == dtype
    torch.testing.assert_close(actual, expected, rtol=0, atol=torch.finfo(dtype).eps)


def test_a_quarter_turn_turns_by_a_quarter() -> None:
    x = torch.tensor([[1.0, 0.0, 0.0, 1.0, 3.0, 4.0]])
    quarter = torch.tensor([[0.0, 1.0]]).repeat(1, 3)
    assert rotate_pairs(x, quarter).tolist() == [[0.0, 1.0, -1.0, 0.0, -4.0, 3.0]]


@given(
    batch=st.integers(0, 3), heads=st.integers(1, 3), length=st.integers(0, 5), pairs=st.integers(1, 5),
    seed=st.integers(0, 2**31), dtype=st.sampled_from([torch.float32, torch.float64]),
)  # fmt: skip
def test_values_and_gradients_are_those_of_the_complex_product(
    batch: int, heads: int, length: int, pairs: int, seed: int, dtype: torch.dtype
) -> None:
    x = numbers(batch, heads, length, 2 * pairs, seed=seed, dtype=dtype).requires_grad_()
    other = x.detach().clone().requires_grad_()
    cis = rotations(numbers(length, pairs, seed=seed + 1, dtype=dtype)).view(1, 1, length, 2 * pairs)
    weight = numbers(*x.shape, seed=seed + 2, dtype=dtype)
    actual, expected = rotate_pairs(x, cis), complex_product(other, cis)
    (actual * weight).sum().backward()
    (expected * weight).sum().backward()
    close = {"rtol": 4 * torch.finfo(dtype).eps, "atol": 8 * torch.finfo(dtype).eps}
    torch.testing.assert_close(actual, expected, **close)
    torch.testing.assert_close(x.grad, other.grad, **close)


def test_transposed_memory() -> None:
    x = numbers(2, 5, 3, 8).transpose(1, 2)  # as the heads are split off: (B, heads, L, C), not contiguous
    cis = rotations(numbers(5, 4)).view(1, 1, 5, 8)
    torch.testing.assert_close(rotate_pairs(x, cis), rotate_pairs(x.contiguous(), cis), rtol=0, atol=0)


def test_a_product_of_low_precision_is_refused_nowhere_but_keeps_the_rotations_precision() -> None:
    x = numbers(1, 1, 5, 8, dtype=torch.bfloat16)
    cis = rotations(numbers(5, 4)).view(1, 1, 5, 8)
    assert rotate_pairs(x.float(), cis).dtype == torch.float32
    assert rotate_pairs(x, cis).dtype == torch.float32


class Holder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("freqs_cis", torch.zeros(3, 4))
        self.register_load_state_dict_pre_hook(load_complex_freqs_cis)


@pytest.mark.parametrize("assign", [False, True])
def test_complex_entries_load_and_the_callers_dict_stays(assign: bool) -> None:
    entry = torch.complex(numbers(3, 2), numbers(3, 2, seed=1))
    state = {"0.freqs_cis": entry}
    module = nn.Sequential(Holder())
    module.load_state_dict(state, strict=True, assign=assign)
    assert torch.equal(module[0].freqs_cis, torch.view_as_real(entry).flatten(-2))
    assert state == {"0.freqs_cis": entry}


def test_conjugated_entries_load() -> None:
    entry = torch.complex(numbers(3, 2), numbers(3, 2, seed=1))
    module = Holder()
    module.load_state_dict({"freqs_cis": entry.conj()}, strict=True)
    assert torch.equal(module.freqs_cis, torch.view_as_real(entry.conj().resolve_conj()).flatten(-2))


def test_real_entries_stay_as_they_are() -> None:
    module = Holder()
    module.load_state_dict({"freqs_cis": numbers(3, 4)}, strict=True)
    assert torch.equal(module.freqs_cis, numbers(3, 4))


@pytest.mark.parametrize(
    ("state", "said"),
    [({}, "Missing key"), ({"freqs_cis": torch.zeros(3, 3, dtype=torch.complex64)}, "size mismatch")],
)
def test_what_does_not_fit_is_still_an_error(state: dict[str, Tensor], said: str) -> None:
    with pytest.raises(RuntimeError, match=said):
        Holder().load_state_dict(state, strict=True)
