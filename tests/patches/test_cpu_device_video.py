"""cpu_device_video: off, frames, memories and predictors want CUDA; on, they stay with the model."""

from __future__ import annotations

from pathlib import Path

from sam3port.stubs import installed
from tests.conftest import RunPython
from tests.patches.machine import NO_CUDA, assert_passes, failures, needs_no_cuda

SMALL = Path(__file__).with_name("small_model.py").read_text(encoding="utf-8")

FRAMES = """
from __main__ import *
state = video_model().init_state(frames())
images = state["input_batch"].img_batch
assert images.is_cpu and images.shape == (3, 3, SIZE, SIZE) and images.dtype == torch.float16
"""
STORAGE = """
from __main__ import *
tracker = builder.build_tracker(apply_temporal_disambiguation=False).eval()
state = tracker.init_state(video_height=20, video_width=30, num_frames=1)
out = tracker._consolidate_temp_output_across_obj(state, 0, is_cond=True, run_mem_encoder=False)
assert state["storage_device"] == tracker.device
assert out["pred_masks"].is_cpu and out["pred_masks"].shape == (0, 1, 96, 96)
"""
MEMORY = """
from __main__ import *
tracker = builder.build_tracker(apply_temporal_disambiguation=False).eval()
torch.manual_seed(0)
stored = torch.randn(1, 64, 24, 24, dtype=torch.bfloat16)

def attend(memory):
    out = {"maskmem_features": memory, "maskmem_pos_enc": [torch.zeros(1, 64, 24, 24)], "obj_ptr": torch.zeros(1, 256)}
    with torch.no_grad():
        return tracker._prepare_memory_conditioned_features(
            frame_idx=1, is_init_cond_frame=False, feat_sizes=[(24, 24)], num_frames=2,
            current_vision_feats=[torch.ones(576, 1, 256)], current_vision_pos_embeds=[torch.zeros(576, 1, 256)],
            output_dict={"cond_frame_outputs": {0: out}, "non_cond_frame_outputs": {}},
        )

# A memory is stored in bfloat16 and attended to in float32.
fused = attend(stored)
assert fused.shape == (1, 256, 24, 24) and fused.dtype == torch.float32
assert torch.equal(fused, attend(stored.float()))
with torch.autocast("cpu", dtype=torch.bfloat16):
    half = attend(stored)
assert 0 < (half.float() - fused).abs().max() < 0.1
"""
MESSAGE = """
from sam3.model.sam3_video_predictor import Sam3VideoPredictor
assert Sam3VideoPredictor._get_torch_and_gpu_properties(None).endswith("GPU device: none")
"""
PREDICTOR = """
from __main__ import *
torch.save(video_model().state_dict(), "model.pt")
predictor = builder.build_sam3_video_predictor(checkpoint_path="model.pt")
assert predictor.device == predictor.model.device == torch.device("cpu") and predictor.world_size == 1
"""
MODEL = """
from __main__ import *
from sam3.model.sam3_video_predictor import Sam3VideoPredictor
torch.save(video_model().state_dict(), "model.pt")
assert Sam3VideoPredictor(checkpoint_path="model.pt").model.device == torch.device("cpu")
"""
LOADER = """
from sam3.model.io_utils import load_video_frames
load_video_frames("there_is_none.mp4", 32, offload_video_to_cpu=True, video_loader_type="torchcodec")
"""
PLACES = [
    ("io_utils.py", FRAMES),
    ("sam3_tracking_predictor.py", STORAGE),
    ("sam3_tracker_base.py", MEMORY),
    ("sam3_video_predictor.py", MESSAGE),
    ("sam3_video_predictor.py", PREDICTOR),
    ("sam3_video_predictor.py", MODEL),
]


@needs_no_cuda
def test_off_every_place_wants_cuda(upstream_python: RunPython) -> None:
    run = upstream_python(SMALL + failures([*PLACES, ("io_utils.py", LOADER)]), disable=["cpu_device_video"])
    assert_passes(run)
    lines = run.stdout.splitlines()
    assert len(lines) == len(PLACES) + 1
    for (where, _), failure in zip([*PLACES, ("io_utils.py", LOADER)], lines, strict=True):
        assert failure.startswith(f"{where}: ") and NO_CUDA.search(failure), run.stdout


@needs_no_cuda
def test_off_importing_warns_of_autocast(upstream_python: RunPython) -> None:
    run = upstream_python("import sam3", disable=["cpu_device_video"])
    assert_passes(run)
    assert run.stderr.count("CUDA is not available") == 2, run.stderr


def test_on_every_place_is_on_the_cpu(upstream_python: RunPython) -> None:
    code = "".join(f"exec({code!r}, {{}})\n" for _, code in PLACES)
    assert_passes(upstream_python(SMALL + "torch.cuda.is_available = lambda: False\n" + code))


def test_on_building_a_tracker_leaves_autocast_alone(upstream_python: RunPython) -> None:
    code = SMALL + (
        "builder.build_tracker(apply_temporal_disambiguation=False)\nassert not torch.is_autocast_enabled('cpu')\n"
    )
    run = upstream_python(code)
    assert_passes(run)
    assert "autocast" not in run.stderr


def test_on_torchcodec_is_reached(upstream_python: RunPython) -> None:
    """The loader asks for the current GPU before it opens the file, whether it will use one or not."""
    run = upstream_python(failures([("io_utils.py", LOADER)]))
    assert_passes(run)
    expected = "there_is_none.mp4" if installed("torchcodec") else "ModuleNotFoundError: No module named 'torchcodec'"
    assert expected in run.stdout


def test_on_a_video_file_is_read(upstream_python: RunPython) -> None:
    """By OpenCV, upstream's default."""
    code = SMALL + (
        "import sys\n"
        "try:\n"
        "    import cv2\n"
        "except ImportError:\n"
        "    sys.exit('no cv2')\n"
        "folder = sorted(pathlib.Path(frames()).iterdir())\n"
        "writer = cv2.VideoWriter('video.mp4', cv2.VideoWriter_fourcc(*'mp4v'), 10, (512, 512))\n"
        "[writer.write(cv2.imread(str(path))) for path in folder]\n"
        "writer.release()\n"
        "model = video_model()\n"
        "read, still = (model.init_state(path)['input_batch'].img_batch for path in ('video.mp4', 'frames'))\n"
        "assert read.is_cpu and read.shape == still.shape\n"
    )
    run = upstream_python(code)
    if run.stderr.strip().endswith("no cv2"):
        import pytest

        pytest.skip("OpenCV is not installed")
    assert_passes(run)
