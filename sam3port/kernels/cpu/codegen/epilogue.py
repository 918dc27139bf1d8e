"""What is done to a product's values while they are still in registers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sam3port.errors import UsageError
from sam3port.kernels.cpu.codegen import emit, expressions
from sam3port.kernels.cpu.codegen.emit import Buffer, Dim, Expr, Value

ACTIVATIONS: Final = {"relu": expressions.relu, "gelu": expressions.gelu, "sigmoid": expressions.sigmoid}
VECTOR_STEPS: Final = ("add_vector", "multiply_vector")
"""Steps with an operand of one value for each output feature: a bias, a LayerScale."""
TENSOR_STEPS: Final = ("add_tensor", "multiply_tensor")
"""Steps with an operand as large as the output: a residual."""

EXPENSIVE_STEPS: Final = ("gelu", "sigmoid")
"""Steps of so much code that a kernel should hold them once, in a loop, and not once for each register."""

Epilogue = tuple[str, ...]
"""Steps in order; `operands` of a kernel follow the order of the steps that take one."""


def operand_shapes(epilogue: Epilogue, features: Dim, output: Sequence[Dim]) -> list[tuple[str, tuple[Dim, ...]]]:
    """Names and shapes of the operands that the steps take.

    Raises:
        UsageError: an unknown step.
    """
    shapes: list[tuple[str, tuple[Dim, ...]]] = []
    for index, step in enumerate(epilogue):
        if step in VECTOR_STEPS:
            shapes.append((f"{step}_{index}", (features,)))
        elif step in TENSOR_STEPS:
            shapes.append((f"{step}_{index}", tuple(output)))
        elif step not in ACTIVATIONS:
            known = ", ".join([*VECTOR_STEPS, *TENSOR_STEPS, *ACTIVATIONS])
            raise UsageError(f"unknown epilogue step {step!r}", f"known: {known}")
    return shapes


def apply(
    epilogue: Epilogue,
    operands: Sequence[Buffer],
    value: Value,
    feature: Expr,
    position: Sequence[Expr],
    lanes: int,
    *,
    feature_is_last: bool,
) -> Value:
    """`value` (``lanes`` neighbours along the output's last axis, from `position` on) after all steps."""
    remaining = iter(operands)
    for step in epilogue:
        if step in ACTIVATIONS:
            value = ACTIVATIONS[step](value, emit.bind, lanes)
            continue
        buffer = next(remaining)
        if step in TENSOR_STEPS:
            operand = emit.load(buffer, position, lanes)
        elif feature_is_last:
            operand = emit.load(buffer, [feature], lanes)
        else:
            operand = emit.broadcast(emit.load(buffer, [feature]), lanes)
        value = value + operand if step.startswith("add") else value * operand
    return value
