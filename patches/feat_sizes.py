"""The fusion encoder without `feat_sizes`.

What breaks: `TransformerEncoderFusion.forward` takes either sequences with their `feat_sizes` or `(B, C, H, W)` maps.
The second way cannot work: it compares the method `x.dim` with 4 instead of its result, so that the assertion always
fails; behind it, the missing list of padding masks is None where `_prepare_multilevel_features` iterates over it, and
the batch size is read from the channel axis.
"""

from __future__ import annotations

from sam3port.hookspecs import hookimpl
from sam3port.patching import Edit, Kind, Patch

_MODULE = "sam3.model.encoder"
_FORWARD = "TransformerEncoderFusion.forward"

PATCH = Patch(
    name="feat_sizes",
    kind=Kind.FIX,
    summary="the fusion encoder takes (B, C, H, W) maps, as its own message says",
    reason="without feat_sizes TransformerEncoderFusion.forward fails on every input",
    upstream="sam3/model/encoder.py:516-535 (and 323, which iterates over the absent masks)",
    retire_when="upstream calls x.dim() and gives every level a padding mask or None",
    edits=(
        Edit(
            _MODULE,
            _FORWARD,
            before="bs = src[0].shape[1]  # seq first",
            after="bs = src[0].shape[0 if feat_sizes is None else 1]  # sequences are seq first, maps batch first",
        ),
        Edit(_MODULE, _FORWARD, before="x.dim == 4 for x in src", after="x.dim() == 4 for x in src"),
        Edit(
            _MODULE,
            _FORWARD,
            before='), "expected list of (bs, c, h, w) tensors"\n',
            after=(
                '), "expected list of (bs, c, h, w) tensors"\n'
                "            if src_key_padding_mask is None:\n"
                "                src_key_padding_mask = [None] * len(src)\n"
            ),
        ),
    ),
)


@hookimpl
def sam3port_patches() -> list[Patch]:
    return [PATCH]
