"""A proof that cannot fail proves nothing: one thing is broken at a time, and the proof has to fail and say where.

Real builds and real runs. What the broken thing cannot have changed (the reference, for a converter) is taken from the
proof of the whole tiny model.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sam3port.artifact import weights as parameters
from sam3port.build.request import BuildRequest
from sam3port.build.runner import Compiled
from sam3port.compiler import export
from sam3port.compiler.stage import EXPORTED, PARAMETERS, RECORD
from sam3port.inspect import operators
from sam3port.model.preset import preset
from sam3port.patching.install import make_plan
from sam3port.plugins import load_plugins
from sam3port.tuning.sources import usual_schedules
from sam3port.verify.cases import cases
from sam3port.verify.judge import Verdict
from sam3port.verify.proof import compare
from sam3port.verify.runs import Processes, Run, Unwatched
from tests.cli.conftest import call
from tests.verify.conftest import Completed, TinyProof
from tests.verify.sabotage import broken_converter, broken_patch, installed, made_wrong

SMALL = "scoring_head"


def verified(
    built: Path,
    component: str,
    tiny_proof: TinyProof,
    folder: Path,
    again: tuple[Run, ...] = (Run.COMPILED,),
    seeds: int = 3,
) -> list[Verdict]:
    """The proof of one component in ``built``: the runs ``again`` are new, the others are those of ``tiny_proof``."""
    request = BuildRequest((component,), tuned=usual_schedules())
    todo = list(cases(load_plugins().components()[component](), preset("tiny"), seeds))
    shutil.copytree(tiny_proof.kept, folder, ignore=shutil.ignore_patterns(*again))
    files = [folder / "inputs" / f"{case.key}.npz" for case in todo]
    processes = Processes(request, built, folder, Unwatched())
    for run in again:
        assert not processes.perform(run, {component: files}).failures
    return list(compare(request.component(component), todo, request, folder))


def outside(verdicts: list[Verdict]) -> list[Verdict]:
    return [verdict for verdict in verdicts if not verdict.passed]


def full_name(operator: str) -> str:
    """Of a converter's operator, as in programs."""
    return operator.replace("::", ".") if "::" in operator else f"aten.{operator}"


def smallest_with(operator: str, built: Path) -> str:
    """The component with the smallest program among those that call ``operator``."""
    # torch.export keeps some operators that are taken apart before the import.
    wanted = full_name({"grid_sampler_2d.default": "grid_sampler.default"}.get(operator, operator))
    found = {}
    for file in sorted(built.glob(f"*/{EXPORTED}")):
        with zipfile.ZipFile(file) as archive:
            (graph,) = (name for name in archive.namelist() if name.endswith("models/model.json"))
            text = archive.read(graph)
        if f'"torch.ops.{wanted}"'.encode() in text:
            found[len(text)] = file.parent.name
    assert found, f"no component calls {operator}: its converter has no use"
    return found[min(found)]


def test_without_a_break_it_passes(tiny_proof: TinyProof, tmp_path: Path) -> None:
    """What the other tests do, with nothing broken."""
    built = tiny_proof.copy_of_built(SMALL, tmp_path / "built")
    assert not outside(verified(built, SMALL, tiny_proof, tmp_path / "runs"))


@pytest.mark.parametrize("operator", load_plugins().converters())
def test_a_wrong_converter(operator: str, tiny_built: Path) -> None:
    """Off by 1 %, by one, or false throughout: seen in the operator, with what arrives there in a component."""
    plugins = load_plugins()
    for patch in make_plan(None, frozenset()).patches:
        if patch.prepare is not None:
            patch.prepare()
    component, converters = smallest_with(operator, tiny_built), plugins.converters()
    program = export.load(tiny_built / component / EXPORTED)
    example = plugins.components()[component]().example(preset("tiny"), 1)
    broken = {**converters, operator: replace(converters[operator], convert=made_wrong(converters[operator].convert))}
    found = {name: operators.check(program, example, known, only={full_name(operator)})
             for name, known in (("right", converters), ("broken", broken))}  # fmt: skip
    assert found["right"] and all(finding.ok for finding in found["right"])
    assert not all(finding.ok for finding in found["broken"]), f"{operator} is broken, and nobody notices"


def test_a_wrong_converter_by_the_proof(tiny_proof: TinyProof, tmp_path: Path) -> None:
    """The stage is TVM's: everything before it is right."""
    operator = "pow.Tensor_Scalar"
    component = smallest_with(operator, tiny_proof.built)
    built = tiny_proof.copy_of_built(component, tmp_path / "built")
    environment = broken_converter(tmp_path / "plugin", operator)
    words = ("build", component, "--seed", "0", "--no-cache", "--out", str(built))
    done = call(*words, cwd=tmp_path, timeout=600, **environment)
    assert done.returncode == 0, done.stderr
    stages = [line for line in done.stderr.splitlines() if " export " in line or " import " in line]
    assert [line.split()[-1] == "cached" for line in stages] == [True, False], done.stderr
    short = outside(verified(built, component, tiny_proof, tmp_path / "runs"))
    assert short, f"{operator} is broken in {component}, and nobody notices"
    assert {verdict.stage for verdict in short} == {"tvm"}
    assert all(verdict.component == component for verdict in short)


def says(done: Completed, component: str, output: str, stage: str) -> None:
    """The command failed and named the place: component, output, index and stage."""
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith(f"{component}, ") and f", {output}: " in line]
    assert lines, done.stdout
    assert all(f"most of it came in at the stage {stage} (" in line for line in lines), done.stdout
    assert any(" at [" in line and "instead of" in line for line in lines)


UNPERMUTED = '''
    """grid_sampler_2d as TVM 0.27 converts it: the grid is handed on as it is."""

    import sam3port.compiler.importing.converters.grid_sampler_2d as ours
    from sam3port.compiler.importing.converter import Converter, arguments


    def convert(node, importer):
        from tvm import relax

        given = arguments(node, importer)
        emit = importer.block_builder.emit
        # Only the shape is right, as when height and width happen to fit.
        grid = emit(relax.op.reshape(given["grid"], [given["grid"].ty.shape[i] for i in (0, 3, 1, 2)]))
        return emit(relax.op.image.grid_sample(
            given["input"], grid, method="bilinear", layout="NCHW", padding_mode="zeros",
            align_corners=bool(given["align_corners"]),
        ))


    ours.CONVERTER = Converter("grid_sampler_2d.default", "sabotage", "never", convert)
'''


def test_a_converter_without_its_permutation_by_the_command(tmp_path: Path) -> None:
    """The very mistake that the converter is there to correct, from the build to the exit status."""
    saboteur = installed(tmp_path / "plugin", UNPERMUTED)
    done = call("verify", "geometry_encoder", "--seeds", "1", cwd=tmp_path, timeout=900, **saboteur)
    says(done, "geometry_encoder", "geometry_features", "tvm")
    # Prompts without points do not sample.
    assert "geometry_encoder, no points, no boxes, " not in done.stdout
    assert "geometry_encoder, one point, geometry_features: " in done.stdout


WRONG_PATCHES = {
    "float_rope": (
        "vision_backbone",
        "features_0",
        "rope_real.rotate_pairs(xk_, freqs_cis)",
        "rope_real.rotate_pairs(xk_, freqs_cis * torch.tensor([1.0, -1.0]).repeat(freqs_cis.shape[-1] // 2))",
    ),
    "feat_sizes": (
        "transformer_encoder_maps",
        "memory",
        "src_key_padding_mask = [None] * len(src)\n",
        "src_key_padding_mask = [None] * len(src)\n            src = [x * 1.01 for x in src]\n",
    ),
    "static_shapes": (
        "transformer_decoder",
        "hs",
        "if self.compilable_cord_cache is None",
        "boxes_xyxy = boxes_xyxy * 0.99\n        if self.compilable_cord_cache is None",
    ),
}
"""Component and output that must fail, and what is put where the patch puts the right thing."""


def test_a_wrong_patch_by_the_command(tmp_path: Path) -> None:
    """A rotation in the other direction."""
    component, output, right, wrong = WRONG_PATCHES["float_rope"]
    environment = broken_patch(tmp_path / "plugin", "float_rope", right, wrong)
    done = call("verify", component, "--seeds", "1", cwd=tmp_path, timeout=900, **environment)
    says(done, component, output, "patches")


@pytest.mark.parametrize("patch", sorted(set(WRONG_PATCHES) - {"float_rope"}))
def test_a_wrong_patch(patch: str, tiny_proof: TinyProof, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off by 1 %, in an edit that is right otherwise."""
    component, output, right, wrong = WRONG_PATCHES[patch]
    environment = broken_patch(tmp_path / "plugin", patch, right, wrong)
    built = tmp_path / "built"
    # With the cache: what is broken has other keys than what is right, and kernels that are equal are compiled once.
    words = ("build", component, "--seed", "0", "--out", str(built))
    done = call(*words, cwd=tmp_path, timeout=600, **environment)
    assert done.returncode == 0, done.stderr
    monkeypatch.setenv("PYTHONPATH", environment["PYTHONPATH"])
    new = (Run.PATCHED, Run.EXPORTED, Run.COMPILED)
    short = outside(verified(built, component, tiny_proof, tmp_path / "runs", new, seeds=1))
    assert {verdict.output for verdict in short} >= {output}
    assert {verdict.stage for verdict in short} == {"patches"}


def one_weight_changed(file: Path, name: str) -> None:
    """One number of one tensor becomes a tenth of the tensor's range larger."""
    tensors = {key: np.array(tensor) for key, tensor in parameters.read(file).items()}
    flat = tensors[name].reshape(-1)
    used = np.flatnonzero(flat)  # packing pads with zeros
    flat[used[len(used) // 2]] += np.ptp(flat) / 10 + 0.1
    file.unlink()
    parameters.write(file, tensors)


def test_every_weight_counts(tiny_proof: TinyProof, tmp_path: Path) -> None:
    """One number of any tensor. The library runs in this process: a new one for each weight would take a minute."""
    request = BuildRequest((SMALL,), tuned=usual_schedules())
    component = request.component(SMALL)
    todo = list(cases(component, preset("tiny"), 1))[:1]
    shutil.copytree(tiny_proof.kept, tmp_path / "runs")
    built = tiny_proof.copy_of_built(SMALL, tmp_path / "built")
    weights = built / SMALL / PARAMETERS
    right = weights.read_bytes()
    for name in [None, *parameters.read(weights)]:
        weights.unlink()  # the last one is still mapped
        weights.write_bytes(right)
        if name is not None:
            one_weight_changed(weights, name)
        results = Compiled(built / SMALL).run(todo[0].inputs)
        np.savez(tmp_path / "runs" / Run.COMPILED / f"{todo[0].key}.npz", **results)  # type: ignore[arg-type]
        wrong = outside(list(compare(component, todo, request, tmp_path / "runs")))
        assert bool(wrong) == (name is not None), f"nobody notices that the weight {name} changed"


def test_one_changed_weight_and_two_swapped_outputs_by_the_command(tiny_proof: TinyProof, tmp_path: Path) -> None:
    """Each in a component of its own, and each is named. The outputs have one shape, so that only numbers can tell."""
    other = "prompt_encoder"
    for component in (SMALL, other):
        built = tiny_proof.copy_of_built(component, tmp_path / "built")
    names = list(parameters.read(built / other / PARAMETERS))
    one_weight_changed(built / other / PARAMETERS, names[0])
    file = built / SMALL / RECORD
    record = json.loads(file.read_text(encoding="utf-8"))
    outputs = [output["name"] for output in record["outputs"]]
    first, second = outputs.index("pred_boxes"), outputs.index("pred_boxes_xyxy")
    record["outputs"][first], record["outputs"][second] = record["outputs"][second], record["outputs"][first]
    file.write_text(json.dumps(record), encoding="utf-8")
    done = call("verify", "--built", str(built), "--seeds", "1", cwd=tmp_path, timeout=600)
    for output in ("pred_boxes", "pred_boxes_xyxy"):
        says(done, SMALL, output, "tvm")
    assert ", pred_logits: " not in done.stdout
    of_weight = [line for line in done.stdout.splitlines() if line.startswith(f"{other}, seed 1000, ")]
    assert of_weight and all("most of it came in at the stage tvm (" in line for line in of_weight), done.stdout
