"""Legalisations for GPUs, where TVM's have threads of their own bound into them: such kernels cannot be fused,
scheduled for another number of threads, or run anywhere else to be checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import relax, te, tirx


def _scatter_elements(builder: relax.BlockBuilder, call: Any) -> Any:
    """``R.scatter_elements``: each element looks for the last update that is meant for it, instead of being sought."""
    axis, reduction = int(call.attrs.axis), str(call.attrs.reduction)
    data, indices, updates = call.args
    if reduction != "update" or data.ty.ndim < 1:
        return call  # left to TVM's own
    axis %= data.ty.ndim

    def compute(data: te.Tensor, indices: te.Tensor, updates: te.Tensor) -> te.Tensor:
        extent = data.shape[axis]
        position = te.reduce_axis((0, indices.shape[axis]), name="position")

        def there(where: Any, at: Any) -> list[Any]:
            return [at if i == axis else index for i, index in enumerate(where)]

        def inside(where: Any) -> Any:
            """Whether updates reach so far in the other axes, where they may be shorter than `data`."""
            return tirx.all(
                *(
                    where[i] < indices.shape[i]
                    for i in range(len(where))
                    if i != axis and not _same(indices.shape[i], data.shape[i])
                ),
                tirx.const(True, "bool"),
            )

        def candidate(*where: Any) -> Any:
            wanted = tirx.if_then_else(
                inside(where), indices(*there(where, position)).astype("int64"), tirx.const(-1, "int64") - extent
            )
            wanted = tirx.Select(wanted < 0, wanted + extent, wanted)
            own = wanted == where[axis].astype("int64")
            return te.max(
                tirx.Select(own, position.var.astype("int64"), tirx.const(-1, "int64")),
                axis=position,
            )

        last = te.compute(data.shape, candidate, name="last_update")
        return te.compute(
            data.shape,
            lambda *where: tirx.if_then_else(last(*where) >= 0, updates(*there(where, last(*where))), data(*where)),
            name="scattered",
        )

    return builder.call_te(compute, data, indices, updates, primfunc_name_hint="scatter_elements")


def _same(a: Any, b: Any) -> bool:
    return isinstance(a, tirx.IntImm) and isinstance(b, tirx.IntImm) and int(a.value) == int(b.value)


LEGALISATIONS: dict[str, Callable[[relax.BlockBuilder, Any], Any]] = {"relax.scatter_elements": _scatter_elements}
