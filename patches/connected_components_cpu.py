"""Upstream's connected components on CPU, with no objects and with many components.

What breaks: the CPU way out of `connected_components` stacks one result an object, and ``torch.stack`` refuses an empty
list. The video model fills holes on every frame, with no new object on most of them, so on CPU its first frame without
a new object ends in "stack expects a non-empty TensorList". The CUDA kernels take an empty batch.

It also walks over all pixels once for every component; a noisy mask has thousands. One count of all labels gives the
same areas.
"""

from __future__ import annotations

from sam3port.hookspecs import hookimpl
from sam3port.patching import Edit, Kind, Patch

PATCH = Patch(
    name="connected_components_cpu",
    kind=Kind.PORTABILITY,
    summary="connected components on CPU of no objects, and of many components in one pass",
    reason="the video model on CPU fails on the first frame without a new object: stack expects a non-empty TensorList",
    upstream="sam3/perflib/connected_components.py:26-29 and 48, by way of sam3/model/sam3_video_base.py:970",
    retire_when="connected_components_cpu takes an empty batch",
    edits=(
        Edit(
            module="sam3.perflib.connected_components",
            symbol="connected_components_cpu",
            before="    batch_size = input_tensor.shape[0]\n",
            after=(
                "    batch_size = input_tensor.shape[0]\n"
                "    if batch_size == 0:\n"
                "        nothing = torch.zeros(out_shape, dtype=torch.int32, device=input_tensor.device)\n"
                "        return nothing, nothing.clone()\n"
            ),
        ),
        Edit(
            module="sam3.perflib.connected_components",
            symbol="connected_components_cpu_single",
            before=(
                "    counts = torch.zeros_like(labels)\n"
                "    for i in range(1, num + 1):\n"
                "        cur_mask = labels == i\n"
                "        cur_count = cur_mask.sum()\n"
                "        counts[cur_mask] = cur_count\n"
            ),
            after=(
                "    areas = torch.bincount(labels.flatten(), minlength=num + 1).to(labels.dtype)\n"
                "    areas[0] = 0\n"
                "    counts = areas[labels]\n"
            ),
        ),
    ),
)


@hookimpl
def sam3port_patches() -> list[Patch]:
    return [PATCH]
