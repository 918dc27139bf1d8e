"""Runs upstream in float64 throughout, as a yardstick for what float32 can be expected to give."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from sam3port.errors import Sam3PortError


@contextlib.contextmanager
def in_float64() -> Iterator[None]:
    """Inside, every float32 or complex64 that upstream asks for by name becomes float64 or complex128.

    ``model.double()`` is not enough: upstream's rotary encoding calls ``.float()``, and position encodings are built
    with ``dtype=torch.float32`` (sam3/model/vitdet.py:74, position_encoding.py:95). Tensors that exist stay.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    wider = {torch.float32: torch.float64, torch.complex64: torch.complex128}

    class Widen(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.Tensor.view:  # bytes read as another type: as which, is not for us to say
                return func(*args, **(kwargs or {}))
            if func is torch.Tensor.float:
                func = torch.Tensor.double
            args = tuple(wider.get(a, a) if isinstance(a, torch.dtype) else a for a in args)
            widened = {
                name: wider.get(value, value) if isinstance(value, torch.dtype) else value
                for name, value in (kwargs or {}).items()
            }
            return func(*args, **widened)

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with Widen():
            yield
    finally:
        torch.set_default_dtype(before)


class NotFloat64(Sam3PortError):
    """A float64 run computed something in a narrower type, and would measure with a bent yardstick."""


@contextlib.contextmanager
def only_float64() -> Iterator[None]:
    """Inside, an operator that takes or gives a floating or complex tensor narrower than float64 is refused.

    Raises:
        NotFloat64: there was one; it says which.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    wide = {torch.float64, torch.complex128}

    class Refuse(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            for tensor in tree_leaves((args, kwargs, result)):
                floats = isinstance(tensor, torch.Tensor) and (tensor.is_floating_point() or tensor.is_complex())
                if floats and tensor.dtype not in wide:
                    raise NotFloat64(
                        f"the float64 run computes {func} with {tensor.dtype}{list(tensor.shape)}",
                        "sam3port/verify/float64.py has to widen what asks for it",
                    )
            return result

    with Refuse():  # type: ignore[no-untyped-call]
        yield
