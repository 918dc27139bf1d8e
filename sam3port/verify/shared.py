"""What several components share and is expensive, computed once an input: `full`'s ViT takes a minute a picture."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch

LEAST: Final = 100_000_000
"""Numbers in a module from which on its outputs are worth keeping."""


def remember_shared(components: Iterable[torch.nn.Module], least: int = LEAST) -> list[torch.nn.Module]:
    """Lets modules that several components hold keep what they computed, for as long as they live.

    A module in evaluation mode gives the same for the same tensors, and gives it bit by bit: what is kept is a copy,
    so that nothing downstream can change it.

    Args:
        components: the components' modules, all of one model, in evaluation mode.
        least: parameters from which on a module is worth it.

    Returns:
        The modules that remember now; none lies within another.
    """
    chosen = list(_shared(list(components), least))
    for module in chosen:
        _remember(module)
    return chosen


def _shared(components: list[torch.nn.Module], least: int) -> Iterator[torch.nn.Module]:
    holders: dict[torch.nn.Module, int] = {}
    for component in components:
        for module in component.modules():
            if module is not component:
                holders[module] = holders.get(module, 0) + 1
    worth = {
        module
        for module, count in holders.items()
        if count > 1 and sum(parameter.numel() for parameter in module.parameters()) >= least
    }
    within = {inner for module in worth for inner in module.modules() if inner is not module}
    return (module for module in worth if module not in within)


def _remember(module: torch.nn.Module) -> None:
    from torch.utils import _pytree as pytree

    compute = module.forward
    known: dict[str, Any] = {}

    def forward(*args: Any, **kwargs: Any) -> Any:
        key = _digest((args, kwargs))
        if key not in known:
            known[key] = compute(*args, **kwargs)
        return pytree.tree_map(lambda value: value.clone() if hasattr(value, "clone") else value, known[key])

    module.forward = forward


def _digest(arguments: Any) -> str:
    import torch
    from torch.utils import _pytree as pytree

    leaves, structure = pytree.tree_flatten(arguments)
    digest = hashlib.sha256(repr(structure).encode())
    for leaf in leaves:
        if isinstance(leaf, torch.Tensor):
            digest.update(f"{leaf.dtype} {tuple(leaf.shape)}".encode())
            digest.update(leaf.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        else:
            digest.update(repr(leaf).encode())
    return digest.hexdigest()
