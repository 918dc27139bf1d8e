"""Upstream imports triton where it only may need it.

What breaks: ``import triton`` at the top of four modules. The image model imports one of them (model/edt.py, by way of
the tracker), although it never starts a kernel; triton has no wheels for macOS and Windows, and none is needed on CPU.

The stand-in is visible to these four modules alone (a fake triton in ``sys.modules`` breaks torch itself). Whoever
starts a kernel gets an error that says so. Upstream's own switches lead around them: `generic_nms` and
`connected_components` look at the tensor's device, the focal loss takes ``triton=False``; for model/edt.py, which has
no switch, there is the patch edt_cpu.
"""

from __future__ import annotations

from sam3port.hookspecs import hookimpl
from sam3port.patching import Edit, Kind, Patch
from sam3port.stubs import Stub, installed


def _not_needed() -> str | None:
    return "triton is installed" if installed("triton") else None


PATCH = Patch(
    name="triton_stub",
    kind=Kind.PORTABILITY,
    summary="import upstream's triton kernels without triton",
    reason="No module named 'triton': `import sam3` fails, and so do upstream's losses",
    upstream="sam3/model/edt.py:6, perflib/triton/nms.py:6, perflib/triton/connected_components.py:5,"
    " train/loss/sigmoid_focal_loss.py:6",
    retire_when="upstream imports triton inside the functions that start a kernel",
    not_needed=_not_needed,
    edits=tuple(
        Edit(
            module=module,
            symbol="",
            before="import triton\nimport triton.language as tl\n",
            after='import sam3port.stubs\n\ntriton = sam3port.stubs.module("triton")\ntl = triton.language\n',
        )
        for module in (
            "sam3.model.edt",
            "sam3.perflib.triton.nms",
            "sam3.perflib.triton.connected_components",
            "sam3.train.loss.sigmoid_focal_loss",
        )
    ),
)

STUB = Stub(
    module="triton",
    reason="triton kernels need a CUDA machine: keep the tensors on CPU, or pass triton=False to upstream's focal loss",
    decorators=frozenset({"jit", "autotune"}),
    constructors=frozenset({"Config"}),
)


@hookimpl
def sam3port_patches() -> list[Patch]:
    return [PATCH]


@hookimpl
def sam3port_stubs() -> list[Stub]:
    return [STUB]
