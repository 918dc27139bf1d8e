"""Builds upstream's image model on the CPU, in float32, for evaluation, with weights from a seed or a checkpoint."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam3port.errors import UsageError
from sam3port.model.preset import FULL, Preset, Traits

if TYPE_CHECKING:
    from sam3.model.sam3_image import Sam3Image


def build_model(
    preset: Preset,
    *,
    seed: int | None = None,
    checkpoint: Path | None = None,
    base: Path | None = None,
    interactive: bool = True,
) -> Sam3Image:
    """Upstream's image model with weights.

    Args:
        preset: the sizes. `full` is built by upstream's own builder.
        seed: weights by `sam3port.model.weights.seed_weights`; the masks mean nothing then.
        checkpoint: weights from a file, see `sam3port.model.checkpoints.load`; or those that come with
            sam3port, see `sam3port.model.demo_weights`.
        base: the checkpoint that gives the parts of which ``checkpoint`` has nothing.
        interactive: also the interactive predictor (points, boxes, masks) and the neck that feeds it, if the model has
            them (`sam3port.model.preset.Traits.clicks`).

    Returns:
        ``sam3.model.sam3_image.Sam3Image``, float32, on the CPU, in evaluation mode, without gradients.

    Raises:
        UsageError: not exactly one of seed and checkpoint.
        CheckpointError: the checkpoint is not one of this model (see `load_checkpoint`).
    """
    if (seed is None) == (checkpoint is None):
        raise UsageError("a model needs either a seed or a checkpoint", "give exactly one of them")
    model = construct(preset, interactive=interactive)
    if checkpoint is not None:
        from sam3port.model import demo_weights

        if demo_weights.about(checkpoint) is not None:
            demo_weights.load_demo_weights(model, checkpoint)
        else:
            from sam3port.model.checkpoints.load import load_checkpoint

            load_checkpoint(model, checkpoint, base=base, traits=preset.traits)
    elif seed is not None:
        from sam3port.model.weights import seed_weights

        seed_weights(model, seed)
    return model


def construct(preset: Preset, *, interactive: bool = True) -> Sam3Image:
    """The model without weights: parameters are memory as it was found; `build_model` fills all of it.

    Installs the import hook if there is none. Leaves torch's random state and autocast as they were.
    """
    import torch

    model = _construct(preset, interactive)
    assert all(p.dtype == torch.get_default_dtype() and p.device.type == "cpu" for p in model.parameters())
    return model


def skeleton(preset: Preset, *, interactive: bool = True, assembled: bool = False) -> Sam3Image:
    """The model's structure with parameters and buffers on torch's meta device: names and shapes, no memory.

    Args:
        assembled: put together by `sam3port.model.assemble` even where upstream's own builder has these sizes.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class RealSchedule(TorchFunctionMode):
        """The ViT reads the values of a linspace (its drop rates, vitdet.py:718), which meta tensors do not have."""

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = {"device": "cpu"} | (kwargs or {}) if func is torch.linspace else kwargs or {}
            return func(*args, **kwargs)

    with torch.device("meta"), RealSchedule():
        return _construct(preset, interactive, assembled)


def _construct(preset: Preset, interactive: bool, assembled: bool = False) -> Sam3Image:
    from sam3port.patching import install

    if install.current() is None:
        install.install()
    interactive = interactive and preset.traits.clicks
    with _undisturbed():
        if preset.with_traits(Traits()) == FULL and preset.traits.fourth_level and not assembled:
            from sam3.model_builder import build_sam3_image_model

            model: Any = build_sam3_image_model(
                device="cpu", load_from_HF=False, enable_inst_interactivity=interactive, eval_mode=True
            )
        else:
            from sam3port.model.assemble import assemble

            model = assemble(preset, interactive=interactive)
        _leave_autocast(model)
    model.backbone.scalp = preset.scalp
    if model.inst_interactive_predictor is not None:
        # Upstream's tracker writes "with a sigmoid" into the constructor (sam3_tracker_base.py:205).
        decoder = model.inst_interactive_predictor.model.sam_mask_decoder
        decoder.iou_prediction_head.sigmoid_output = preset.traits.iou_sigmoid
    model.eval().requires_grad_(False)
    return model


def _leave_autocast(model: Any) -> None:
    """`Sam3TrackerPredictor.__init__` enters a bfloat16 autocast for CUDA and never leaves it
    (sam3_tracking_predictor.py:46): every later float32 computation on a GPU would run in bfloat16."""
    if model.inst_interactive_predictor is not None:
        model.inst_interactive_predictor.model.bf16_context.__exit__(None, None, None)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keeps torch's random state; keeps warnings about CUDA and 20 s of random numbers out of the build."""
    import torch
    from torch.nn import init
    from torch.overrides import TorchFunctionMode

    random = {torch.Tensor.uniform_, torch.Tensor.normal_, torch.Tensor.erfinv_}
    # These ask the mode themselves, and what they call no longer does.
    whole = {init.uniform_, init.normal_, init.kaiming_uniform_}

    class NoInitialisation(TorchFunctionMode):
        """What `nn.init` and timm's trunc_normal_ draw would be overwritten."""

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func in whole:
                return kwargs["tensor"]
            return args[0] if func in random else func(*args, **(kwargs or {}))

    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=[]))
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", message=".*CUDA is not available.*")
        stack.enter_context(NoInitialisation())
        yield
