"""The yardstick is float64 throughout, where upstream asks for float32 by name too."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sam3port.verify.float64 import NotFloat64, in_float64, only_float64


def test_everything_made_inside_is_double() -> None:
    with in_float64():
        assert torch.ones(2).dtype == torch.float64
        assert torch.ones(2, dtype=torch.float32).dtype == torch.float64
        assert torch.arange(3).float().dtype == torch.float64
        assert torch.arange(3).to(torch.float32).dtype == torch.float64
        assert torch.arange(3, dtype=torch.float32).dtype == torch.float64
        assert torch.zeros(2).type_as(torch.ones(1)).dtype == torch.float64
        assert torch.polar(torch.ones(2), torch.ones(2)).dtype == torch.complex128
        assert torch.arange(3).dtype == torch.int64
        assert torch.ones(2, dtype=torch.bool).dtype == torch.bool
    assert torch.ones(2).dtype == torch.float32
    assert torch.arange(3).float().dtype == torch.float32


def test_it_ends_with_an_error_too() -> None:
    with pytest.raises(ZeroDivisionError), in_float64():
        _ = 1 // 0
    assert torch.get_default_dtype() == torch.float32


def test_what_is_narrower_is_refused() -> None:
    narrow = torch.ones(3, dtype=torch.float32)
    with only_float64(), in_float64():
        assert (torch.ones(3) * 2).dtype == torch.float64
        assert torch.view_as_complex(torch.ones(3, 2)).dtype == torch.complex128
        assert (torch.arange(3) < 2).dtype == torch.bool
    with only_float64():
        for wrong in (
            lambda: narrow + torch.ones(3, dtype=torch.float64),
            lambda: torch.ones(3, dtype=torch.float64).to(torch.bfloat16),
            lambda: torch.stack([narrow.double(), narrow]),
            lambda: torch.ones(3, dtype=torch.complex64),
        ):
            with pytest.raises(NotFloat64, match="the float64 run computes"):
                wrong()


def test_weights_are_read_from_files_as_they_are(tmp_path: Path) -> None:
    """The library reads bytes and views them as the type that the file names."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    file = tmp_path / "weights.safetensors"
    types = (torch.float32, torch.bfloat16, torch.float16, torch.complex64, torch.float64)
    wanted = {str(dtype): torch.arange(6).reshape(2, 3).to(dtype) for dtype in types}
    save_file(wanted, file)
    with in_float64():
        found = load_file(file)
        with safe_open(file, "pt") as opened:
            one_by_one = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    for name, tensor in wanted.items():
        assert found[name].dtype == one_by_one[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor) and torch.equal(one_by_one[name], tensor)
