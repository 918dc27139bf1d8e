"""The linked library computes, bit for bit, what the components compute one after the other."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sam3port.artifact import weights as parameters
from sam3port.artifact.prompts import Clicks, Geometry, join, pad_clicks, pad_geometry
from sam3port.build.request import BuildRequest
from sam3port.build.runner import Compiled
from sam3port.compiler.entries import ENTRIES, Entry, linked_components
from sam3port.tuning.sources import usual_schedules
from tests.conftest import clean_environment

ROOT = Path(__file__).resolve().parents[2]
REQUEST = BuildRequest(linked_components(), tuned=usual_schedules())
SIZES, CAPACITY = REQUEST.sizes(), REQUEST.capacity
Tensors = dict[str, NDArray[Any]]


class Chain:
    """Components, each compiled by itself, their outputs given on by name."""

    def __init__(self, built: Path) -> None:
        self._components = {name: Compiled(built / name) for name in linked_components()}

    def run(self, name: str, there: Tensors) -> None:
        """Adds what a component makes."""
        component = self._components[name]
        there |= component.run({spec.name: there[spec.name] for spec in component.inputs})


class Linked:
    """The artifact's functions. What one returns goes into the next as it is, without leaving the device."""

    def __init__(self, artifact: Path) -> None:
        import tvm
        from tvm import relax

        self._manifest = json.loads((artifact / "manifest.json").read_text(encoding="utf-8"))
        library = tvm.runtime.load_module(str(artifact / self._manifest["library"]))
        self._machine = relax.VirtualMachine(library, tvm.cpu())
        self._weights = {
            name: [tvm.runtime.tensor(np.array(array)) for array in read.values()]
            for name in linked_components()
            for read in [parameters.read(artifact / "params" / f"{name}.safetensors")]
        }
        self.there: dict[str, Any] = {}

    def run(self, entry: str, given: Tensors) -> Tensors:
        import tvm

        described = self._manifest["entries"][entry]
        self.there |= {name: tvm.runtime.tensor(np.ascontiguousarray(array)) for name, array in given.items()}
        inputs = [self.there[spec["name"]] for spec in described["inputs"]]
        weights = [weight for name in described["parameters"] for weight in self._weights[name]]
        results = self._machine[entry](*inputs, *weights)
        named = {spec["name"]: result for spec, result in zip(described["outputs"], results, strict=True)}
        self.there |= named
        return {name: result.numpy() for name, result in named.items()}


def example(component: str, seed: int) -> Tensors:
    return {name: np.array(array) for name, array in REQUEST.component(component).example(SIZES, seed).items()}


def geometry(seed: int, prompt: Geometry | None) -> Tensors:
    if prompt is not None:
        return {name: np.array(array) for name, array in pad_geometry([prompt], CAPACITY).items()}
    return {name: array for name, array in example("geometry_encoder", seed).items() if "_2" not in name}


def clicks(seed: int, prompt: Clicks | None) -> Tensors:
    return example("prompt_encoder", seed) if prompt is None else dict(pad_clicks([prompt], CAPACITY, SIZES))


@pytest.fixture(scope="module")
def chain(tiny_built: Path) -> Chain:
    return Chain(tiny_built)


@pytest.fixture(scope="module")
def linked(tiny_artifact: Path) -> Linked:
    return Linked(tiny_artifact)


@pytest.mark.parametrize("case", ["some", "none"])
def test_every_function_is_the_chain(chain: Chain, linked: Linked, case: str) -> None:
    """Prompts from a seed, and prompts without points, boxes, clicks and mask; the same image and text for both."""
    given = {
        "encode_image": example("image_encoder", 11),
        "encode_text": example("text_encoder", 12),
        "ground": geometry(13, Geometry() if case == "none" else None),
        "click": clicks(14, Clicks() if case == "none" else None),
        "exemplar": geometry(16, Geometry() if case == "none" else None),
        "ground_like": {},
    }
    there: Tensors = {}
    for entry in ENTRIES:
        there |= given[entry.name]
        for step in entry.steps:
            if isinstance(step, str):
                chain.run(step, there)
            elif step.name == "prompt":  # both parts of it at once, as programs do it
                parts = ("text_features", "text_mask", "geometry_features", "geometry_mask")
                there |= {name: np.asarray(array) for name, array in join(*(there[part] for part in parts)).items()}
        found = linked.run(entry.name, given[entry.name])
        assert found
        for name, array in found.items():
            np.testing.assert_array_equal(array, there[name], err_msg=f"{entry.name}: {name}")
            assert array.dtype == there[name].dtype
            assert array.dtype == np.bool_ or array.std() > 0 or array.size == 1, f"{name} is all alike"


def test_a_call_leaves_what_it_was_given_as_it_was(linked: Linked) -> None:
    """Features are used by any number of prompts: memory that is used again must not be theirs."""
    image = linked.run("encode_image", example("image_encoder", 11))
    text = linked.run("encode_text", example("text_encoder", 12))
    encoded = {name: array.copy() for name, array in {**image, **text}.items()}
    first = linked.run("ground", geometry(13, None))
    linked.run("click", clicks(14, None))
    linked.run("ground", geometry(15, None))
    again = linked.run("ground", geometry(13, None))
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name], err_msg=name)
    for name, array in encoded.items():
        np.testing.assert_array_equal(linked.there[name].numpy(), array, err_msg=name)


def part_of_model(built: Path, entry: Entry) -> Any:
    """Linked, with that one function."""
    from sam3port.compiler import ir
    from sam3port.compiler.link import link

    every = {name: REQUEST.component(name) for name in linked_components()}
    modules = {name: ir.load(built / name / "optimised.json") for name in entry.components}
    return link(modules, every, SIZES, REQUEST.build_target(), [entry])


def test_equal_kernels_are_kept_once(tiny_built: Path) -> None:
    from tvm_ffi import structural_hash

    from sam3port.compiler import ir
    from sam3port.compiler.optimise import alone

    ground = next(entry for entry in ENTRIES if entry.name == "ground")
    linked = part_of_model(tiny_built, ground)
    names = [variable.name_hint for variable in linked.get_global_vars()]
    assert "ground" in names
    joins = 2
    files = (tiny_built / name / "optimised.json" for name in ground.components)
    separate = [alone(ir.load(file), "main") for file in files]
    kernels = [
        function for module in separate for name, function in module.functions_items() if name.name_hint != "main"
    ]
    different = {structural_hash(function.without_attr("global_symbol")) for function in kernels}
    assert len(names) - 1 - joins == len(different) < len(kernels)


SCORE = Entry("score", ("hs", "reference_boxes", "presence_logits", "prompt", "prompt_mask"), ("scoring_head",))
"""The smallest there can be."""

LINK = """
import sys
from pathlib import Path
import tvm
from tests.verify.test_linked import REQUEST, SCORE, part_of_model
module = part_of_model(Path(sys.argv[1]), SCORE)
tvm.compile(module, REQUEST.build_target().target()).export_library(sys.argv[2])
"""


def test_the_same_bytes_in_every_process(tiny_built: Path, tmp_path: Path) -> None:
    for seed in ("1", "2"):
        (tmp_path / seed).mkdir()
        arguments = [sys.executable, "-c", LINK, str(tiny_built), str(tmp_path / seed / "model.so")]
        environment = clean_environment(PYTHONHASHSEED=seed, PYTHONPATH=str(ROOT))
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    one, two = ((tmp_path / seed / "model.so").read_bytes() for seed in ("1", "2"))
    assert len(one) > 10_000
    assert one == two
