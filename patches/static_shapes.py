"""The decoder's feature size as plain ints, so that torch.export can trace it.

What breaks: `TransformerDecoder` takes the size of its feature map out of a tensor and compares it with a tuple of
ints. torch.export has no value for a traced tensor and stops with a data-dependent guard. Upstream's way around it is
to skip the comparison under `torch.compiler.is_dynamo_compiling()`, which is False in torch.export. With a size that
is not cached it would also store traced tensors in the module.
"""

from __future__ import annotations

from sam3port.hookspecs import hookimpl
from sam3port.patching import Edit, Kind, Patch

_MODULE = "sam3.model.decoder"
_FORWARD = "TransformerDecoder.forward"
_MATRIX = "TransformerDecoder._get_rpb_matrix"

PATCH = Patch(
    name="static_shapes",
    kind=Kind.EXPORT,
    summary="the decoder's feature size in plain ints while torch.export traces it",
    reason="torch.export of the decoder fails with a data-dependent guard",
    upstream="sam3/model/decoder.py:331-355,516-523",
    retire_when="upstream passes the feature size as ints, or tests torch.compiler.is_compiling()",
    edits=(
        Edit(
            _MODULE,
            "",
            before="from .act_ckpt_utils import activation_ckpt_wrapper\n",
            after=(
                "from sam3port.replacements.feature_size import feature_size\n\n"
                "from .act_ckpt_utils import activation_ckpt_wrapper\n"
            ),
        ),
        Edit(_MODULE, _FORWARD, before="spatial_shapes.shape[0] == 1", after="len(spatial_shapes) == 1"),
        Edit(
            _MODULE,
            _FORWARD,
            before="(spatial_shapes[0, 0], spatial_shapes[0, 1]),",
            after="feature_size(spatial_shapes, self.compilable_stored_size, memory.shape[0]),",
        ),
        Edit(
            _MODULE,
            _MATRIX,
            before="if self.compilable_cord_cache is None:",
            after="if self.compilable_cord_cache is None and not torch.compiler.is_exporting():",
        ),
        Edit(
            _MODULE,
            _MATRIX,
            before="self.compilable_stored_size = (H, W)",
            after="self.compilable_stored_size = (int(H), int(W))",
        ),
        Edit(
            _MODULE,
            _MATRIX,
            before="if torch.compiler.is_dynamo_compiling() or self.compilable_stored_size == (\n",
            after=(
                "if torch.compiler.is_exporting() and self.compilable_stored_size != (H, W):\n"
                "            # in the graph: a cache would keep traced tensors\n"
                "            coords_h, coords_w = self._get_coords(H, W, reference_boxes.device)\n"
                "        elif torch.compiler.is_dynamo_compiling() or self.compilable_stored_size == (\n"
            ),
        ),
    ),
)


@hookimpl
def sam3port_patches() -> list[Patch]:
    return [PATCH]
