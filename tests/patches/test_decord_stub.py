"""decord_stub: off, upstream's data sets want decord; on, they import, and a video says what to do."""

from __future__ import annotations

from tests.conftest import RunPython
from tests.patches.conftest import LoadedPython
from tests.patches.machine import assert_fails, assert_passes, needs_no_decord

TRANSFORM = """
import torch
from PIL import Image
from sam3.train.data.collator import collate_fn_api
from sam3.train.data.sam3_image_dataset import Datapoint, Image as Picture
from sam3.train.transforms.basic_for_api import ComposeAPI, NormalizeAPI, RandomResizeAPI, ToTensorAPI

transform = ComposeAPI([
    RandomResizeAPI(sizes=32, max_size=32, square=True, consistent_transform=False),
    ToTensorAPI(),
    NormalizeAPI(mean=[0.5] * 3, std=[0.5] * 3),
])
picture = Picture(data=Image.new("RGB", (20, 10), "white"), objects=[], size=(10, 20))
point = Datapoint(find_queries=[], images=[picture])
assert torch.equal(transform(point).images[0].data, torch.ones(3, 32, 32))
"""
VIDEO = """
from sam3.model.utils.sam2_utils import load_video_frames
load_video_frames("cat.mp4", image_size=32, offload_video_to_cpu=True)
"""


@needs_no_decord
def test_off_importing_upstream_fails(upstream_python: RunPython) -> None:
    run = upstream_python("import sam3", disable=["decord_stub"])
    assert_fails(run, "sam3_image_dataset.py", "ModuleNotFoundError: No module named 'decord'")


def test_on_transforms_of_images_run(loaded_python: LoadedPython) -> None:
    assert_passes(loaded_python(TRANSFORM))


@needs_no_decord
def test_on_a_video_says_what_to_do(upstream_python: RunPython) -> None:
    run = upstream_python(VIDEO)
    assert_fails(run, "StubError: decord.bridge.set_bridge was called", "extract the video's frames into a folder")


@needs_no_decord
def test_on_the_data_set_says_what_to_do(upstream_python: RunPython) -> None:
    code = """
        import sys
        from sam3.train.data.sam3_image_dataset import VideoReader
        assert "decord" not in sys.modules
        VideoReader("cat.mp4")
        """
    run = upstream_python(code)
    assert_fails(run, "StubError: decord.VideoReader was called", "extract the video's frames into a folder")
