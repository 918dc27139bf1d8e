"""Support for the tests that run upstream's models: its own builder, with smaller sizes.

Prepended to code that runs in a fresh interpreter, after ``sam3port.install()``. 336 x 336 pixels instead of
1008 x 1008, unless what stands before sets SIZE; two narrow ViT blocks and text layers instead of 32 and 24;
everything else is upstream's.
"""

import os
import pathlib

import numpy as np
import sam3.model_builder as builder
import torch
from PIL import Image
from skimage import data

SIZE = globals().get("SIZE", 336)


def _with(build, **changes):
    """``build``, whose keyword arguments ``changes`` replace."""
    return lambda *args, **kwargs: build(*args, **{**kwargs, **changes})


builder.ViT = _with(
    builder.ViT, img_size=SIZE, embed_dim=64, depth=2, num_heads=4, mlp_ratio=2.0, global_att_blocks=(1,)
)
builder.VETextEncoder = _with(builder.VETextEncoder, width=64, heads=4, layers=2)
builder.SimpleMaskDownSampler = _with(builder.SimpleMaskDownSampler, interpol_size=[SIZE * 8 // 7] * 2)
builder.TransformerDecoder = _with(builder.TransformerDecoder, resolution=SIZE)
builder.Sam3TrackerPredictor = _with(builder.Sam3TrackerPredictor, image_size=SIZE)
builder.Sam3VideoInferenceWithInstanceInteractivity = _with(
    builder.Sam3VideoInferenceWithInstanceInteractivity, image_size=SIZE
)


def initialise(model):
    """Two tensors of the text encoder are torch.empty in upstream: a checkpoint is meant to fill them."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("positional_embedding", "text_projection")):
                parameter.normal_(std=0.02)
    return model.eval()


def video_model():
    """The video model with seeded weights, and thresholds that let random detections pass."""
    torch.manual_seed(0)
    model = initialise(builder.build_sam3_video_model(device="cpu", load_from_HF=False))
    let_detections_pass(model)
    return model


def let_detections_pass(model):
    model.score_threshold_detection = model.new_det_thresh = 0.0
    model.max_num_objects = 3


def frames(count=3):
    """A folder of ``count`` frames: a photograph that moves by 8 pixels a frame."""
    folder = pathlib.Path("frames")
    folder.mkdir(exist_ok=True)
    photograph = data.astronaut()
    for index in range(count):
        Image.fromarray(np.roll(photograph, 8 * index, axis=1)).save(folder / f"{index:05d}.jpg", quality=95)
    return os.fspath(folder)
