"""Hard-coded CUDA devices of the video model, the tracker and the video predictors.

What breaks: ``.cuda()`` on the frames, on stored memories and on the model; a storage device "cuda"; the current GPU
for messages and for the choice of a GPU. Everything goes to the device of the model, or of the inference state.
Frames use upstream's own switch ``offload_video_to_cpu``, which goes around all of io_utils' ``.cuda()``. A predictor
without a GPU takes the CPU as its only device. On CUDA nothing changes.

Autocast: upstream enters CUDA's bfloat16 autocast when it builds a tracker, and never leaves it. Without CUDA that is a
warning and nothing else, so everything runs in float32, and so it stays here: entering CPU's autocast instead would
silently turn every later matrix product of the user's process into bfloat16, and be slow on most CPUs. Memories are
stored in bfloat16 as upstream stores them, and read back in the precision of the frame that attends to them. So results
on CPU are those of float32 up to the memories' rounding, and nearer to them than upstream's on CUDA. Whoever wants
upstream's precision wraps the calls in ``torch.autocast("cpu", dtype=torch.bfloat16)``.
"""

from __future__ import annotations

from sam3port.hookspecs import hookimpl
from sam3port.patching import Edit, Kind, Patch

_BASE = "sam3.model.sam3_tracker_base"
_MEMORY = "Sam3TrackerBase._prepare_memory_conditioned_features"
_TRACKER = "sam3.model.sam3_tracking_predictor"
_VIDEO = "sam3.model.sam3_video_inference"
_PREDICTOR = "sam3.model.sam3_video_predictor"
_MULTI_GPU = "Sam3VideoPredictorMultiGPU.__init__"
_AUTOCAST = 'torch.autocast(device_type="cuda", dtype=torch.bfloat16'
_ONLY_CUDA = f"{_AUTOCAST}, enabled=torch.cuda.is_available())"

PATCH = Patch(
    name="cpu_device_video",
    kind=Kind.PORTABILITY,
    summary="the video model, the tracker and the video predictors on the device of their model",
    reason="frames, memories and the model are sent to CUDA: Torch not compiled with CUDA enabled",
    upstream="sam3/model/sam3_tracker_base.py:657,664, sam3_tracking_predictor.py:49,81,303,1026, sam3_image.py:839,"
    " io_utils.py:66-395,510, sam3_video_inference.py:61,798,906, sam3_video_predictor.py:51,281,294-312",
    retire_when="upstream's video model and predictors run on a machine without CUDA",
    edits=(
        # Upstream relies on autocast to bring bfloat16 memories and float32 features together, twice.
        Edit(
            module=_BASE,
            symbol=_MEMORY,
            before='feats = prev["maskmem_features"].cuda(non_blocking=True)',
            after=(
                'feats = prev["maskmem_features"].to(device, non_blocking=True)\n'
                "                if not torch.is_autocast_enabled(device.type):\n"
                "                    feats = feats.to(current_vision_feats[-1].dtype)"
            ),
        ),
        Edit(
            module="sam3.model.sam3_image",
            symbol="Sam3ImageOnVideoMultiGPU._build_multigpu_buffer_next_chunk",
            before="x.to(torch.bfloat16) for x in",
            after="x.to(torch.bfloat16) if torch.is_autocast_enabled(x.device.type) else x for x in",
        ),
        Edit(
            module=_BASE,
            symbol=_MEMORY,
            before='prev["maskmem_pos_enc"][-1].cuda()',
            after='prev["maskmem_pos_enc"][-1].to(device)',
        ),
        Edit(_TRACKER, "Sam3TrackerPredictor.__init__", before=f"{_AUTOCAST})", after=_ONLY_CUDA),
        Edit(
            module=_TRACKER,
            symbol="Sam3TrackerPredictor.init_state",
            before='inference_state["storage_device"] = torch.device("cuda")',
            after='inference_state["storage_device"] = inference_state["device"]',
        ),
        Edit(
            module=_TRACKER,
            symbol="Sam3TrackerPredictor.add_new_points_or_box",
            before='prev_out["pred_masks"].cuda(non_blocking=True)',
            after='prev_out["pred_masks"].to(inference_state["device"], non_blocking=True)',
        ),
        Edit(
            module=_TRACKER,
            symbol="Sam3TrackerPredictor._get_image_feature",
            before='inference_state["images"][frame_idx].cuda().float()',
            after='inference_state["images"][frame_idx].to(inference_state["device"]).float()',
        ),
        Edit(
            module=_VIDEO,
            symbol="Sam3VideoInference.init_state",
            before="offload_video_to_cpu=offload_video_to_cpu,",
            after='offload_video_to_cpu=offload_video_to_cpu or self.device.type != "cuda",',
        ),
        Edit(_VIDEO, "Sam3VideoInference.warm_up_compilation", before=f"{_AUTOCAST})", after=_ONLY_CUDA),
        Edit(_VIDEO, "Sam3VideoInference.forward", before=f"{_AUTOCAST})", after=_ONLY_CUDA),
        Edit(
            module="sam3.model.io_utils",
            symbol="AsyncVideoFileLoaderWithTorchCodec.__init__",
            before="else torch.cuda.current_device()",
            after="else (torch.cuda.current_device() if torch.cuda.is_available() else None)",
        ),
        # The model is on CUDA already, when there is one: that is build_sam3_video_model's default.
        Edit(
            module=_PREDICTOR,
            symbol="Sam3VideoPredictor.__init__",
            before="            .cuda()\n            .eval()",
            after="            .eval()",
        ),
        Edit(
            module=_PREDICTOR,
            symbol="Sam3VideoPredictor._get_torch_and_gpu_properties",
            before="{torch.cuda.get_device_properties(torch.cuda.current_device())}",
            after=(
                "{torch.cuda.get_device_properties(torch.cuda.current_device())"
                " if torch.cuda.is_available() else 'none'}"
            ),
        ),
        # Rank 0 of 1 stands for the CPU where there is no GPU.
        Edit(
            module=_PREDICTOR,
            symbol=_MULTI_GPU,
            before="gpus_to_use = [torch.cuda.current_device()]",
            after="gpus_to_use = [torch.cuda.current_device() if torch.cuda.is_available() else 0]",
        ),
        Edit(
            module=_PREDICTOR,
            symbol=_MULTI_GPU,
            before="i < torch.cuda.device_count()",
            after="i < max(torch.cuda.device_count(), 1)",
        ),
        Edit(
            module=_PREDICTOR,
            symbol=_MULTI_GPU,
            before=(
                'self.device = torch.device(f"cuda:{self.gpus_to_use[self.rank]}")\n'
                "        torch.cuda.set_device(self.device)\n"
            ),
            after=(
                'self.device = torch.device("cpu")\n'
                "        if torch.cuda.is_available():\n"
                '            self.device = torch.device(f"cuda:{self.gpus_to_use[self.rank]}")\n'
                "            torch.cuda.set_device(self.device)\n"
            ),
        ),
    ),
)


@hookimpl
def sam3port_patches() -> list[Patch]:
    return [PATCH]
