"""One step down the gradient, as all stages of a training take it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from training.losses import weighted


def descend(
    optimiser: Any,
    parameters: Sequence[nn.Parameter],
    losses: dict[str, Tensor],
    rate: float,
    longest_gradient: float,
    share: Callable[[], None] | None = None,
) -> dict[str, float]:
    """Changes the parameters.

    Args:
        optimiser: of the parameters.
        parameters: all that may learn; those without a gradient stay as they are.
        losses: by name, see `weighted`.
        rate: of learning, in this step.
        longest_gradient: longer ones are made so long.
        share: called once there are gradients: processes average them.

    Returns:
        the losses, and how long the gradient was.
    """
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.zero_grad()
    weighted(losses).backward()
    if share is not None:
        share()
    taught = [parameter for parameter in parameters if parameter.grad is not None]
    length = nn.utils.clip_grad_norm_(taught, longest_gradient)
    optimiser.step()
    return {**{name: value.item() for name, value in losses.items()}, "gradient": length.item()}
