import numpy as np

from sam3port.components.component import Component, TensorSpec, Tolerance
from sam3port.model.interactive import tracker_of


class ObjectPointer(Component):
    """The end of `Sam3TrackerBase._forward_sam_heads`."""

    name = "object_pointer"
    summary = "what the tracker remembers about an object"
    upstream = "Sam3TrackerBase, sam3/model/sam3_tracker_base.py:372"
    tolerance = Tolerance(rtol=1e-4, atol=1e-4)

    def inputs(self, preset):
        batch = self.capacity.prompts
        return (
            TensorSpec(
                "mask_token", (batch, preset.d_model), "float32", "of the mask decoder, for the mask that was chosen"
            ),
            TensorSpec("object_logit", (batch, 1), "float32", "of the mask decoder; above 0 the object is in sight"),
        )

    def outputs(self, preset):
        return (
            TensorSpec("object_pointer", (self.capacity.prompts, preset.d_model), "float32", "one for each object"),
        )

    def module(self, model, preset):
        import torch  # here: declarations are read by programs that have no torch

        class Pointer(torch.nn.Module):
            def __init__(self):
                super().__init__()
                tracker = tracker_of(model)
                self.projection = tracker.obj_ptr_proj  # upstream's own modules and parameters, not copies
                self.hidden = tracker.no_obj_ptr

            def forward(self, mask_token, object_logit):
                return (torch.where(object_logit > 0, self.projection(mask_token), self.hidden),)

        return Pointer()

    def example(self, preset, seed):
        random = np.random.default_rng(seed)
        token, logit = self.inputs(preset)
        return {
            "mask_token": random.standard_normal(token.shape, np.float32),
            "object_logit": random.uniform(-8, 8, logit.shape).astype(np.float32),
        }

    def edges(self, preset):
        base = self.example(preset, 1)
        logits = {"in sight": 30, "hidden": -30, "on the border": 0}
        return {name: {**base, "object_logit": np.full_like(base["object_logit"], x)} for name, x in logits.items()}
