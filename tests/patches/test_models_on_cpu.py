"""With all patches, upstream's models run on a CPU: the image model on pictures of full size, the others on smaller
ones, and all with few layers. With all its layers it runs in the README's example (tests/test_documents.py)."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import RunPython
from tests.patches.machine import assert_passes

SMALL = Path(__file__).with_name("small_model.py").read_text(encoding="utf-8")

IMAGE = """
from sam3.model.sam3_image_processor import Sam3Processor

torch.manual_seed(0)
model = initialise(builder.build_sam3_image_model(device="cpu", load_from_HF=False, enable_inst_interactivity=True))
assert not torch.is_autocast_enabled("cpu")

photograph = Image.fromarray(data.astronaut()).crop((0, 0, 400, 512))
processor = Sam3Processor(model, device="cpu", confidence_threshold=0.0)
state = processor.set_image(photograph)
fpn = state["backbone_out"]["backbone_fpn"]
assert [tuple(level.shape) for level in fpn] == [(1, 256, size, size) for size in (288, 144, 72)]

def check(state):
    assert len(state["scores"]) == len(state["boxes"]) == len(state["masks"]) == 200
    assert state["masks"].shape == (200, 1, 512, 400) and state["masks"].dtype == torch.bool
    assert all(torch.isfinite(state[name]).all() for name in ("scores", "boxes", "masks_logits"))
    return state["masks_logits"].clone()

face = check(processor.set_text_prompt("face", state))
boxed = check(processor.add_geometric_prompt([0.5, 0.4, 0.3, 0.3], True, state))
assert not torch.equal(face, boxed)
processor.reset_all_prompts(state)
assert not torch.equal(check(processor.set_text_prompt("helmet", state)), face)

rng = np.random.default_rng(0)
points = dict(point_coords=np.array([[200, 200], [100, 50]]), point_labels=np.array([1, 0]))
seen = []
for prompt, count in (
    (points, 3),
    (dict(box=np.array([100, 100, 300, 300])), 3),
    (dict(**points, mask_input=rng.standard_normal((1, 288, 288)).astype("float32"), multimask_output=False), 1),
):
    masks, scores, low = model.predict_inst(state, **prompt, return_logits=True)
    assert masks.shape == (count, 512, 400) and scores.shape == (count,) and low.shape == (count, 288, 288)
    assert np.isfinite(masks).all() and np.isfinite(scores).all()
    seen.append(masks[0])
assert not np.array_equal(seen[0], seen[1]) and not np.array_equal(seen[0], seen[2])
"""

VIDEO = """
def shown(outputs):
    masks, count = outputs["out_binary_masks"], len(outputs["out_obj_ids"])
    assert masks.shape == (count, 512, 512) and masks.dtype == bool
    assert np.isfinite(outputs["out_probs"]).all() and np.isfinite(outputs["out_boxes_xywh"]).all()
    return outputs["out_obj_ids"].tolist()

model = video_model()
state = model.init_state(frames(3))
index, outputs = model.add_prompt(state, 0, text_str="person")
assert index == 0
first = shown(outputs)
tracked = {index: shown(outputs) for index, outputs in model.propagate_in_video(state, start_frame_idx=0)}
assert sorted(tracked) == [0, 1, 2] and any(tracked.values())
# Memories were written, and read on the frames after the first.
memories = [
    out["maskmem_features"].dtype
    for tracker in state["tracker_inference_states"]
    for out in tracker["output_dict"]["non_cond_frame_outputs"].values()
]
assert memories and set(memories) == {torch.bfloat16}
model.add_prompt(state, 1, points=torch.tensor([[0.5, 0.4]]), point_labels=torch.tensor([1]), obj_id=7)
again = {index: shown(outputs) for index, outputs in model.propagate_in_video(state, start_frame_idx=0)}
assert sorted(again) == [0, 1, 2] and any(7 in ids for ids in again.values())
index, outputs = model.add_prompt(state, 1, boxes_xywh=[[0.3, 0.2, 0.4, 0.5]], box_labels=[1])
assert index == 1
shown(outputs)
print(tracked, again)
"""

TRACKER = """
torch.manual_seed(0)
tracker = builder.build_tracker(apply_temporal_disambiguation=False, with_backbone=True).eval()
for offload in (False, True):
    state = tracker.init_state(video_path=frames(3), offload_state_to_cpu=offload)
    drawn = torch.zeros(512, 512, dtype=torch.bool)
    drawn[100:300, 150:350] = True
    _, ids, _, masks = tracker.add_new_points_or_box(state, 0, obj_id=1, points=[[0.5, 0.4]], labels=[1])
    # A second click sees the first one's mask.
    _, ids, _, masks = tracker.add_new_points_or_box(
        state, 0, obj_id=1, points=[[0.2, 0.2]], labels=[0], clear_old_points=False
    )
    _, ids, _, masks = tracker.add_new_mask(state, 0, 2, drawn)
    assert ids == [1, 2] and torch.equal(masks[1, 0] > 0, drawn)
    seen = []
    for index, ids, low, masks, scores in tracker.propagate_in_video(state, 0, None, False, propagate_preflight=True):
        assert ids == [1, 2] and masks.shape == (2, 1, 512, 512) and torch.isfinite(masks).all()
        seen.append(index)
    assert seen == [0, 1, 2]
    _, ids, _, masks = tracker.add_new_points_or_box(state, 2, obj_id=1, box=torch.tensor([0.2, 0.2, 0.7, 0.8]))
    backwards = [out[0] for out in tracker.propagate_in_video(state, 2, None, True, propagate_preflight=True)]
    assert backwards == [2, 1, 0]
    assert tracker.remove_object(state, 2)[0] == [1]
"""

PREDICTOR = """
torch.save(video_model().state_dict(), "model.pt")
predictor = builder.build_sam3_video_predictor(checkpoint_path="model.pt")
let_detections_pass(predictor.model)

def request(kind, **arguments):
    return predictor.handle_request(dict(type=kind, **arguments))

session = request("start_session", resource_path=frames(3))["session_id"]
assert request("add_prompt", session_id=session, frame_index=0, text="person")["frame_index"] == 0
stream = dict(type="propagate_in_video", session_id=session, propagation_direction="forward")
assert [response["frame_index"] for response in predictor.handle_stream_request(stream)] == [0, 1, 2]
points = dict(points=[[0.5, 0.4]], point_labels=[1], obj_id=9)
assert request("add_prompt", session_id=session, frame_index=1, **points)["frame_index"] == 1
for kind in ("reset_session", "close_session"):
    assert request(kind, session_id=session) == {"is_success": True}
predictor.shutdown()
"""


def test_the_image_model(upstream_python: RunPython) -> None:
    """Text, box, and the interactive predictor with points, a box and a mask, on a photograph."""
    assert_passes(upstream_python("SIZE = 1008\n" + SMALL + IMAGE, timeout=1200))


def test_the_video_model(upstream_python: RunPython) -> None:
    assert_passes(upstream_python(SMALL + VIDEO, timeout=600))


def test_the_video_model_in_upstreams_precision(upstream_python: RunPython) -> None:
    """CPU's bfloat16 autocast, entered by the user, instead of CUDA's."""
    inside = 'torch.autocast("cpu", dtype=torch.bfloat16).__enter__()\n'
    assert_passes(upstream_python(SMALL + inside + VIDEO, timeout=600))


def test_the_tracker(upstream_python: RunPython) -> None:
    assert_passes(upstream_python(SMALL + TRACKER, timeout=600))


def test_the_video_predictor(upstream_python: RunPython) -> None:
    assert_passes(upstream_python(SMALL + PREDICTOR, timeout=600))
