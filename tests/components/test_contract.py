"""Every component is what it declares to be, with every capacity, on examples and edges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam3port.artifact.interface import Arrays, Capacity, TensorSpec
from sam3port.components.mask_decoder import masked_keys
from sam3port.errors import UsageError
from sam3port.model.preset import PRESETS, Preset
from tests.components.conftest import BATCHED, COMPONENTS, Stage

TABLE = {
    "vision_backbone", "image_encoder", "text_encoder", "geometry_encoder", "mask_prompt_encoder",
    "transformer_encoder", "transformer_encoder_maps", "transformer_decoder", "segmentation_head", "scoring_head",
    "prompt_encoder", "mask_decoder",
}  # fmt: skip
OWN_WEIGHTS = {"mask_prompt_encoder"}
"""Components with weights that are not the model's."""

each = pytest.mark.parametrize("name", COMPONENTS)
each_capacity = pytest.mark.parametrize("capacity", [Capacity(), BATCHED], ids=["usual", "batched"])


def conforms(arrays: Arrays, specs: tuple[TensorSpec, ...]) -> None:
    assert list(arrays) == [spec.name for spec in specs]
    for spec in specs:
        assert (arrays[spec.name].shape, arrays[spec.name].dtype.name) == (spec.shape, spec.dtype), spec.name


def test_all_stages_are_there() -> None:
    assert set(COMPONENTS) == TABLE


@each
def test_upstream_reference_names_a_class_and_its_line(name: str, upstream_root: Path) -> None:
    folder = None
    for reference in COMPONENTS[name].upstream.split("; "):
        what, _, place = reference.rpartition(", ")
        file, _, line = place.partition(":")
        folder = (upstream_root / file).parent if "/" in file else folder
        assert folder is not None
        text = (folder / Path(file).name).read_text(encoding="utf-8").splitlines()[int(line) - 1]
        symbol = what.split(" with ")[0].rpartition(".")[2]
        assert text.split("(")[0].split(":")[0].split()[-1] == symbol, f"{place} is {text!r}"


@each
@each_capacity
def test_examples_and_edges_conform(name: str, capacity: Capacity, sizes: Preset) -> None:
    component = COMPONENTS[name](capacity)
    specs = component.inputs(sizes)
    for spec in (*specs, *component.outputs(sizes)):
        assert spec.meaning
        assert spec.dtype in {"float32", "int64", "bool"}
    conforms(component.example(sizes, 0), specs)
    edges = component.edges(sizes)
    assert edges
    for inputs in edges.values():
        conforms(inputs, specs)


@each
def test_examples_come_from_their_seed(name: str, sizes: Preset) -> None:
    component = COMPONENTS[name](BATCHED)
    first, again, other = (component.example(sizes, seed) for seed in (3, 3, 4))
    constants = {spec for spec in first if spec.startswith(("positions_", "mask_mask"))}
    for tensor in first:
        np.testing.assert_array_equal(first[tensor], again[tensor])
        if tensor not in constants:
            assert not np.array_equal(first[tensor], other[tensor]), tensor


@each
@each_capacity
def test_outputs_conform_and_are_numbers(name: str, capacity: Capacity, tiny: Any, sizes: Preset) -> None:
    component = COMPONENTS[name](capacity)
    stage = Stage(component, tiny, sizes)
    cases = {"seed 0": component.example(sizes, 0), "seed 1": component.example(sizes, 1), **component.edges(sizes)}
    seen = {}
    for case, inputs in cases.items():
        before = {key: array.copy() for key, array in inputs.items()}
        seen[case] = stage(inputs)
        conforms(seen[case], component.outputs(sizes))
        for output, array in seen[case].items():
            assert np.isfinite(array).all(), f"{case}: {output}"
        for key, array in inputs.items():
            np.testing.assert_array_equal(array, before[key])
    for output, array in seen["seed 0"].items():
        if not output.startswith(("positions_", "dense_pe", "mask_features_mask")):
            assert not np.array_equal(array, seen["seed 1"][output]), f"{output} does not depend on the inputs"


@each
def test_module_holds_the_models_own_parameters_and_no_others(name: str, tiny: Any, sizes: Preset) -> None:
    import torch

    stage = COMPONENTS[name]().module(tiny, sizes)
    models = {tensor.data_ptr() for tensor in tiny.state_dict().values()}
    held = {key: tensor for key, tensor in stage.state_dict().items() if tensor.data_ptr() not in models}
    assert bool(held) == (name in OWN_WEIGHTS), list(held)
    used: set[int] = set()

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            for value in torch.utils._pytree.tree_leaves((args, kwargs)):
                if isinstance(value, torch.Tensor):
                    used.add(value.data_ptr())
            return func(*args, **(kwargs or {}))

    component = COMPONENTS[name]()
    for inputs in (component.example(sizes, 0), *component.edges(sizes).values()):
        with torch.no_grad(), Watch():
            stage(*(torch.from_numpy(array.copy()) for array in inputs.values()))
    unused = {key for key, tensor in stage.state_dict().items() if tensor.data_ptr() not in used}
    assert unused <= UNUSED.get(name, set())


CONVOLUTIONS = {f"decoder.conv_s{level}.{kind}" for level in (0, 1) for kind in ("weight", "bias")}
UNUSED = {
    # Run by image_encoder, once for each image, as upstream does.
    "mask_decoder": CONVOLUTIONS,
    # Built for three steps; the pyramid of three levels has two (maskformer_segmentation.py:208).
    "segmentation_head": {
        f"head.pixel_decoder.{layer}.2.{kind}" for layer in ("conv_layers", "norms") for kind in ("weight", "bias")
    },
}
"""Parameters that a stage holds, because they belong to upstream's class, and does not use."""


def test_names_mean_the_same_everywhere() -> None:
    """What two components call by one name has one shape and one meaning: outputs can be wired to inputs by name."""
    for sizes in PRESETS.values():
        for capacity in (Capacity(), BATCHED):
            known: dict[str, TensorSpec] = {}
            for cls in COMPONENTS.values():
                component = cls(capacity)
                for spec in (*component.inputs(sizes), *component.outputs(sizes)):
                    assert known.setdefault(spec.name, spec) == spec


@pytest.mark.parametrize("name", ["image_encoder", "prompt_encoder", "mask_decoder"])
def test_clicks_need_the_interactive_predictor(name: str, sizes: Preset) -> None:
    import torch

    model = torch.nn.Module()
    model.register_module("inst_interactive_predictor", None)
    with pytest.raises(UsageError, match="no interactive predictor") as caught:
        COMPONENTS[name]().module(model, sizes)
    assert "interactive=True" in caught.value.remedy


def test_points_cannot_be_mistaken_for_the_image() -> None:
    import torch

    with pytest.raises(UsageError, match="as many tokens as the image has"):
        masked_keys(torch.zeros(1, 10, dtype=torch.bool), outputs=6, image_tokens=16)
