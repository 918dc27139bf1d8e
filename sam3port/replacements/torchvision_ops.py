"""torchvision's `nms` and `roi_align` in plain PyTorch, for a torchvision whose C++ library does not load.

The operators keep torchvision's names and schemas, so ``torch.export`` records ``torchvision.roi_align.default`` as it
would beside a working torchvision. Only the two gates in torchvision that lead to them are opened; every other C++
operator keeps torchvision's own error message.
"""

from __future__ import annotations

import sys
from typing import Any, Final, cast

import torch
from torch import Tensor

_SCHEMAS: Final = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    # `import torchvision` registers a fake kernel for qnms too; nobody calls it.
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width,"
    " int sampling_ratio, bool aligned) -> Tensor",
)

_libraries: list[torch.library.Library] = []
"""Kernels live as long as the library objects that registered them."""


def install() -> str | None:
    """Makes ``import torchvision`` succeed, with working `nms` and `roi_align`.

    Returns:
        Why nothing had to be done, or None when the operators were defined.
    """
    if _imports():
        return "torchvision's own operators load here"
    define_operators()
    import torchvision  # noqa: F401 - it registers the fake kernels of nms and qnms

    # By module name: as attributes of torchvision.ops, roi_align and nms are the functions.
    for name in ("torchvision.ops.boxes", "torchvision.ops.roi_align"):
        vars(sys.modules[name])["_assert_has_ops"] = lambda: None
    vars(sys.modules["torchvision.ops.roi_align"])["_has_ops"] = lambda: True
    return None


def _imports() -> bool:
    try:
        import torchvision
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        for name in [name for name in sys.modules if name.startswith("torchvision.")]:
            del sys.modules[name]  # what the failed import left behind, so that the next one starts afresh
        return False
    return bool(torchvision.extension._has_ops())


def define_operators() -> None:
    """Defines the schemas that are missing, and their kernels, for every device."""
    library: Any = cast(Any, torch.library.Library)("torchvision", "FRAGMENT")
    _libraries.append(library)
    missing = [schema for schema in _SCHEMAS if not hasattr(torch.ops.torchvision, schema.partition("(")[0])]
    for schema in missing:
        library.define(schema)
    names = {schema.partition("(")[0] for schema in missing}
    if "nms" in names:
        library.impl("nms", nms, "CompositeExplicitAutograd")
    if "roi_align" in names:
        library.impl("roi_align", roi_align, "CompositeExplicitAutograd")
        library.impl("roi_align", _roi_align_autocast, "AutocastCPU")
        torch.library.register_fake("torchvision::roi_align", _roi_align_fake, lib=library)
        torch.library.register_autograd(
            "torchvision::roi_align", _roi_align_backward, setup_context=_save_for_backward, lib=library
        )


def nms(dets: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Greedy non-maximum suppression, as torchvision.ops.nms.

    Args:
        dets: (N, 4), float: x0, y0, x1, y1.
        scores: (N,), float.
        iou_threshold: a box goes when its IoU with a better one that stays is greater than this.

    Returns:
        (M,), int64: the boxes that stay, best first; equal scores in their own order.
    """
    order = torch.argsort(scores, descending=True, stable=True)
    boxes = dets[order].cpu()
    boxes = boxes.float() if boxes.dtype in {torch.float16, torch.bfloat16} else boxes
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    alive = torch.ones(len(boxes), dtype=torch.bool)
    for best in range(len(boxes)):
        if not alive[best]:
            continue
        rest = slice(best + 1, None)
        corner = torch.maximum(boxes[best, :2], boxes[rest, :2])
        size = (torch.minimum(boxes[best, 2:], boxes[rest, 2:]) - corner).clamp(min=0)
        shared = size[:, 0] * size[:, 1]
        # 0 / 0 of two empty boxes is NaN, which is not greater: both stay, as in torchvision. The quotient is float32
        # and the threshold a double there, and they are compared as doubles.
        alive[rest] &= ~((shared / (areas[best] + areas[rest] - shared)).double() > iou_threshold)
    return order[alive.to(order.device)]


def roi_align(
    input: Tensor,
    rois: Tensor,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """The mean of bilinear samples in each bin of each region, as torchvision.ops.roi_align.

    The weight of a pixel for a bin is the product of a weight of its row and one of its column, so a region is two
    small matrix products instead of four gathers for every sample.

    Args:
        input: (B, C, H, W), floating point.
        rois: (K, 5), of the same dtype: image index, x0, y0, x1, y1, in units of the map times 1 / ``spatial_scale``.
        spatial_scale: map units per unit of ``rois``.
        pooled_height: bins in a column.
        pooled_width: bins in a row.
        sampling_ratio: samples a bin and direction; 0 or less for as many as there are pixels (rounded up).
        aligned: shift by half a pixel, and let regions be smaller than one pixel.

    Returns:
        (K, C, pooled_height, pooled_width), of the dtype of ``input``.
    """
    _check(input, rois)
    _, channels, height, width = input.shape
    dtype = torch.float32 if input.dtype in {torch.float16, torch.bfloat16} else input.dtype
    boxes = rois[:, 1:].to(dtype) * spatial_scale - (0.5 if aligned else 0.0)
    rows = _bin_weights(boxes[:, 1], boxes[:, 3], height, pooled_height, sampling_ratio, aligned)
    columns = _bin_weights(boxes[:, 0], boxes[:, 2], width, pooled_width, sampling_ratio, aligned)
    output = boxes.new_zeros(len(rois), channels, pooled_height, pooled_width)
    image_of_roi = rois[:, 0].long()
    for image in sorted(set(image_of_roi.tolist())):
        mine = (image_of_roi == image).nonzero()[:, 0]
        pooled = torch.einsum("kph,chw->kcpw", rows[mine], input[image].to(dtype))
        output = output.index_copy(0, mine, torch.einsum("kcpw,kqw->kcpq", pooled, columns[mine]))
    return output.to(input.dtype)


def _bin_weights(start: Tensor, end: Tensor, size: int, bins: int, sampling_ratio: int, aligned: bool) -> Tensor:
    """(K, bins, size): how much each pixel of an axis counts in each bin; the mean over the samples is in it."""
    extent = end - start
    if not aligned:
        extent = extent.clamp(min=1.0)
    bin_size = extent / bins
    samples = torch.full_like(extent, sampling_ratio) if sampling_ratio > 0 else (extent / bins).ceil()
    most = int(samples.max()) if len(samples) else 0
    weights = start.new_zeros(len(start), bins, size)
    if most <= 0:  # every region is empty: no sample, and the mean of nothing is 0
        return weights
    at = torch.arange(most, device=start.device)
    place = (
        start[:, None, None]
        + torch.arange(bins, device=start.device)[:, None] * bin_size[:, None, None]
        + (at + 0.5) * (bin_size / samples)[:, None, None]
    )
    counts = (at < samples[:, None])[:, None] & (place >= -1.0) & (place <= size)
    place = torch.where(counts, place, 0.0).clamp(min=0)
    low = place.long().clamp(max=size - 1)
    high = (low + 1).clamp(max=size - 1)
    fraction = torch.where(low >= size - 1, 0.0, place - low)
    share = counts / samples.clamp(min=1)[:, None, None]
    weights.scatter_add_(2, low, (1 - fraction) * share)
    return weights.scatter_add_(2, high, fraction * share)


def _check(input: Tensor, rois: Tensor) -> None:
    if rois.size(1) != 5:
        raise RuntimeError("rois must have shape as Tensor[K, 5]")
    if input.dtype != rois.dtype:
        raise RuntimeError(f"input and rois must have the same dtype, but they have {input.dtype} and {rois.dtype}")


def _roi_align_fake(
    input: Tensor,
    rois: Tensor,
    spatial_scale: float,  # noqa: ARG001 - a fake kernel has the operator's arguments
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int,  # noqa: ARG001
    aligned: bool,  # noqa: ARG001
) -> Tensor:
    _check(input, rois)
    return input.new_empty(rois.size(0), input.size(1), pooled_height, pooled_width)


def _roi_align_autocast(input: Tensor, rois: Tensor, *rest: Any) -> Tensor:
    """Under autocast torchvision computes in float32 and returns the dtype of its input."""
    with torch.autocast("cpu", enabled=False):
        pooled: Tensor = torch.ops.torchvision.roi_align(input.float(), rois.float(), *rest)
    return pooled.to(input.dtype)


def _save_for_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    input, rois, *ctx.rest = inputs
    ctx.save_for_backward(rois)
    ctx.shape = input.shape


def _roi_align_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    """The operator is linear in its input, so the place of linearisation does not matter. None for the regions."""
    (rois,) = ctx.saved_tensors
    if not len(rois):  # of which autograd would find that nothing depends on the input
        return (gradient.new_zeros(ctx.shape), None, None, None, None, None, None)
    with torch.enable_grad():
        at = gradient.new_zeros(ctx.shape).requires_grad_()
        (to_input,) = torch.autograd.grad(roi_align(at, rois, *ctx.rest), at, gradient)
    return (to_input, None, None, None, None, None, None)
