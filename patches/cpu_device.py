"""Hard-coded CUDA devices of the image model and the interactive predictor.

What breaks: building the image model makes tensors on "cuda" (position encodings, the decoder's coordinates), and
`Sam3Processor` and `forward_text` have "cuda" as the default device.

Defaults become upstream's own phrase, ``"cuda" if torch.cuda.is_available() else "cpu"`` (model_builder.py:559). The
caches filled while building are used only by a model on their device, so ``build_sam3_image_model(device="cpu")`` works
beside a GPU too; elsewhere they are filled again at the first image. On CUDA nothing changes.

Autocast: the decoder keeps its feed-forward layers in float32 (decoder.py:74), but says so to CUDA's autocast only.
With the tensor's own device type the guard also holds under ``torch.autocast("cpu", dtype=torch.bfloat16)``, which is
how to get on CPU what upstream's examples get from CUDA's autocast. Without autocast it changes nothing.
"""

from __future__ import annotations

from sam3port.hookspecs import hookimpl
from sam3port.patching import Edit, Kind, Patch

_DEFAULT = 'device="cuda" if torch.cuda.is_available() else "cpu"'

PATCH = Patch(
    name="cpu_device",
    kind=Kind.PORTABILITY,
    summary="the image model and the interactive predictor on the device they are built for",
    reason='tensors are made with device="cuda" while the model is built: Torch not compiled with CUDA enabled',
    upstream="sam3/model/position_encoding.py:47, decoder.py:74,281,325, vl_combiner.py:122,137,"
    " sam3_image_processor.py:17, sam3/sam/transformer.py:285,307",
    retire_when="upstream's image model builds and runs with device='cpu' on a machine without CUDA",
    edits=(
        Edit(
            module="sam3.model.position_encoding",
            symbol="PositionEmbeddingSine.__init__",
            before='device="cuda"',
            after=_DEFAULT,
        ),
        Edit(
            module="sam3.model.position_encoding",
            symbol="PositionEmbeddingSine.forward",
            before="if cache_key in self.cache:",
            after="if cache_key in self.cache and self.cache[cache_key].device == x.device:",
        ),
        Edit(
            module="sam3.model.decoder",
            symbol="TransformerDecoder.__init__",
            before='device="cuda"',
            after=_DEFAULT,
        ),
        Edit(
            module="sam3.model.decoder",
            symbol="TransformerDecoder._get_rpb_matrix",
            before="bs, num_queries, _ = boxes_xyxy.shape\n",
            after=(
                "bs, num_queries, _ = boxes_xyxy.shape\n"
                "        if self.compilable_cord_cache and self.compilable_cord_cache[0].device != boxes_xyxy.device:\n"
                "            self.compilable_cord_cache = self._get_coords(\n"
                "                *self.compilable_stored_size, boxes_xyxy.device\n"
                "            )\n"
            ),
        ),
        Edit(
            module="sam3.model.decoder",
            symbol="TransformerDecoderLayer.forward_ffn",
            before='device_type="cuda"',
            after="device_type=tgt.device.type",
        ),
        Edit(
            module="sam3.model.vl_combiner",
            symbol="SAM3VLBackbone.forward_text",
            before='device="cuda"',
            after=_DEFAULT,
        ),
        Edit(
            module="sam3.model.vl_combiner",
            symbol="SAM3VLBackbone._forward_text_no_ack_ckpt",
            before='device="cuda"',
            after=_DEFAULT,
        ),
        Edit(
            module="sam3.model.sam3_image_processor",
            symbol="Sam3Processor.__init__",
            before='device="cuda"',
            after=_DEFAULT,
        ),
        # The tracker's rotations are made on CUDA whenever there is one, whatever device the model is for.
        Edit(
            module="sam3.sam.transformer",
            symbol="RoPEAttention.forward",
            before="if self.freqs_cis.shape[0] != q.shape[-2]:",
            after="if self.freqs_cis.shape[0] != q.shape[-2] or self.freqs_cis.device != q.device:",
        ),
    ),
)


@hookimpl
def sam3port_patches() -> list[Patch]:
    return [PATCH]
