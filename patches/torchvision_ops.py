"""torchvision beside a CPU-only torch.

What breaks: the package index has one torchvision wheel for Linux, built against CUDA's torch. Beside a CPU-only torch
its C++ library does not load, and then ``import torchvision`` itself fails: "operator torchvision::nms does not exist".
Upstream imports it everywhere and calls one of its operators, `roi_align`, for every box prompt
(model/geometry_encoders.py:662).

Not an edit of upstream: right before upstream's first module runs, the missing operators are defined in plain PyTorch
under torchvision's own names. If torchvision's library loads, nothing is done.
"""

from __future__ import annotations

from sam3port.hookspecs import hookimpl
from sam3port.patching import Kind, Patch


def _prepare() -> str | None:
    from sam3port.replacements.torchvision_ops import install

    return install()


PATCH = Patch(
    name="torchvision_ops",
    kind=Kind.PORTABILITY,
    summary="torchvision's nms and roi_align where its C++ library does not load",
    reason="`import torchvision` fails beside a CPU-only torch: operator torchvision::nms does not exist",
    upstream="sam3/model/geometry_encoders.py:7 and 662; torchvision/_meta_registrations.py:163",
    retire_when="torchvision's wheel on the package index loads beside a CPU-only torch",
    prepare=_prepare,
)


@hookimpl
def sam3port_patches() -> list[Patch]:
    return [PATCH]
