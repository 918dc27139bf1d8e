"""cpu_device: off, building the image model wants CUDA; on, everything is where the model is."""

from __future__ import annotations

from tests.conftest import RunPython
from tests.patches.conftest import LoadedPython
from tests.patches.machine import NO_CUDA, assert_fails, assert_passes, failures, needs_no_cuda

PLACES = {
    "position_encoding.py": """
from sam3.model.position_encoding import PositionEmbeddingSine
encoding = PositionEmbeddingSine(32, precompute_resolution=64)
assert {(t.device.type, tuple(t.shape)) for t in encoding.cache.values()} == {
    ("cpu", (32, size, size)) for size in (16, 8, 4, 2)
}
""",
    "decoder.py": """
from sam3.model_builder import _create_transformer_decoder
coordinates = _create_transformer_decoder().compilable_cord_cache
assert [(c.device.type, len(c)) for c in coordinates] == [("cpu", 72), ("cpu", 72)]
""",
    "sam3_image_processor.py": """
from sam3.model.sam3_image_processor import Sam3Processor
assert Sam3Processor(model=None).device == "cpu"
""",
    "vl_combiner.py": """
import torch
from sam3.model.vl_combiner import SAM3VLBackbone

class Text(torch.nn.Module):
    def forward(self, captions, boxes, device):
        tensor = torch.zeros(4, len(captions), 8, device=device)
        return tensor[..., 0].T.bool(), tensor, tensor

backbone = SAM3VLBackbone(visual=None, text=Text())
assert backbone.forward_text(["cat"])["language_features"].device.type == "cpu"
assert backbone._forward_text_no_ack_ckpt(["cat"])["language_features"].device.type == "cpu"
""",
}
MOVED = """
import torch
from sam3.model.position_encoding import PositionEmbeddingSine
from sam3.model_builder import _create_transformer_decoder
from sam3.sam.transformer import RoPEAttention

# A device that every machine has besides its CPU.
encoding = PositionEmbeddingSine(32)
encoding(torch.zeros(1, 1, 4, 4))
assert encoding(torch.zeros(1, 1, 4, 4, device="meta")).device.type == "meta"
assert encoding(torch.zeros(1, 1, 4, 4)).device.type == "cpu"

decoder = _create_transformer_decoder().to("meta")
matrix = decoder._get_rpb_matrix(torch.rand(5, 1, 4, device="meta"), (72, 72))
assert matrix.device.type == "meta" and matrix.shape[-1] == 72 * 72

attention = RoPEAttention(32, 1, feat_sizes=(3, 3)).to("meta")
tokens = torch.zeros(1, 9, 32, device="meta")
assert attention(tokens, tokens, tokens).device.type == "meta"
"""
AUTOCAST = """
import torch
from sam3.model.decoder import TransformerDecoderLayer

torch.manual_seed(0)
layer = TransformerDecoderLayer(
    activation="relu", d_model=32, dim_feedforward=64, dropout=0.0, n_heads=4,
    cross_attention=torch.nn.MultiheadAttention(32, 4),
)
tokens = torch.randn(10, 2, 32)
with torch.no_grad():
    expected = layer.forward_ffn(tokens)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        computed = layer.forward_ffn(tokens)
"""


@needs_no_cuda
def test_off_building_the_image_model_fails(upstream_python: RunPython) -> None:
    code = """
        from sam3 import build_sam3_image_model
        build_sam3_image_model(device="cpu", load_from_HF=False)
        """
    assert_fails(upstream_python(code, disable=["cpu_device"]), "position_encoding.py", NO_CUDA)


@needs_no_cuda
def test_off_every_place_wants_cuda(upstream_python: RunPython) -> None:
    # What a default device breaks shows where it is used: in vl_combiner's case in the text encoder that it is given.
    run = upstream_python(failures(PLACES.items()), disable=["cpu_device"])
    assert_passes(run)
    for where, failure in zip(PLACES, run.stdout.splitlines(), strict=True):
        assert failure.startswith(f"{where}: ") and NO_CUDA.search(failure), run.stdout


def test_off_autocast_on_cpu_lowers_the_decoders_feed_forward(upstream_python: RunPython) -> None:
    code = AUTOCAST + "assert (computed - expected).abs().max() > 1e-3, (computed - expected).abs().max()"
    assert_passes(upstream_python(code, disable=["cpu_device"]))


def test_off_caches_stay_on_the_device_they_were_made_on(upstream_python: RunPython) -> None:
    code = MOVED.partition("\ndecoder = ")[0]
    assert_fails(upstream_python(code, disable=["cpu_device"]), "script_1.py", "AssertionError")


def test_on_every_place_is_on_the_cpu(upstream_python: RunPython) -> None:
    code = "import torch\ntorch.cuda.is_available = lambda: False  # as on a machine without CUDA\n"
    assert_passes(upstream_python(code + "".join(PLACES.values())))


def test_on_defaults_are_cuda_where_there_is_one(upstream_python: RunPython) -> None:
    code = """
        import inspect, torch
        # No more of a CUDA machine than what upstream asks of one while it is imported.
        torch.cuda.is_available = torch.cuda.is_bf16_supported = lambda: True
        torch.cuda.get_device_properties = lambda index: type("Properties", (), {"major": 7})
        from sam3.model.sam3_image_processor import Sam3Processor
        from sam3.model.vl_combiner import SAM3VLBackbone
        for function in (Sam3Processor.__init__, SAM3VLBackbone.forward_text, SAM3VLBackbone._forward_text_no_ack_ckpt):
            assert inspect.signature(function).parameters["device"].default == "cuda"
        """
    assert_passes(upstream_python(code))


def test_on_caches_follow_the_model(loaded_python: LoadedPython) -> None:
    assert_passes(loaded_python(MOVED))


def test_on_autocast_on_cpu_leaves_the_decoders_feed_forward_alone(loaded_python: LoadedPython) -> None:
    assert_passes(loaded_python(AUTOCAST + "assert torch.equal(computed, expected)"))
