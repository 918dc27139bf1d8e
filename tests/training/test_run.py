"""Training runs: the loss falls, an interrupted run goes on as if it had not been, and the weights can be taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sam3port.model import demo_weights
from sam3port.upstream.source import Upstream
from tests.conftest import RunPython
from tests.training.conftest import log, training


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, upstream_source: Upstream) -> Path:
    """200 light steps. Not to be written to."""
    assert upstream_source.pinned
    folder = tmp_path_factory.mktemp("run")
    ran = training("train", "--run", str(folder), "--steps", "200", "--processes", "1")
    assert ran.returncode == 0, ran.stderr
    return folder


def test_two_hundred_steps_lower_the_loss(run: Path) -> None:
    steps = log(run)
    assert [step["step"] for step in steps] == list(range(200))

    def mean(name: str, first: int, last: int) -> float:
        return float(np.mean([step[name] for step in steps[first:last] if name in step]))

    assert mean("pixels", 40, 50) < 0.8 * mean("pixels", 0, 5)
    for name in ("score", "mask", "click", "tokens"):
        assert mean(name, 150, 200) < mean(name, 50, 60), name


def test_then_clicks_are_trained(run: Path) -> None:
    steps = log(run, "clicks.jsonl")
    assert [step["step"] for step in steps] == list(range(50))
    alike = [step for step in steps if "obeyed" not in step]  # then every answer is given twice, and counts twice
    assert len(alike) == 37
    for name in ("click", "marks"):
        assert np.mean([step[name] for step in alike[20:]]) < 0.8 * np.mean([step[name] for step in alike[:10]]), name


def test_a_runs_weights_are_the_models(run: Path, upstream_python: RunPython, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    packed = training("pack", "--run", str(run), "--out", str(file))
    assert packed.returncode == 0, packed.stderr
    assert file.stat().st_size < 10e6
    said = demo_weights.about(file)
    assert said is not None and said["preset"] == "tiny" and said["step"] == "200 of 200"
    assert said["clicks step"] == "50 of 50"
    code = f"""
        from pathlib import Path
        import torch
        from sam3port.model.build import build_model
        from sam3port.model.preset import TINY

        trained = build_model(TINY, checkpoint=Path({str(file)!r})).state_dict()
        seeded = build_model(TINY, seed=0).state_dict()
        same = {{name for name, tensor in trained.items() if torch.equal(tensor, seeded[name])}}
        tracker = "inst_interactive_predictor.model."
        assert {{name for name in trained if name.startswith(tracker + "maskmem")}} <= same
        learned = set(trained) - same
        assert {{"transformer.decoder.query_embed.weight", tracker + "sam_mask_decoder.iou_token.weight"}} <= learned
        assert len(learned) > 450, len(learned)
        words = "backbone.language_backbone.encoder.token_embedding.weight"
        moved = (trained[words] != seeded[words]).any(1).sum()
        assert 5 <= moved <= 40, moved
        """
    ran = upstream_python(code)
    assert ran.returncode == 0, ran.stderr


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(tmp_path: Path, upstream_source: Upstream) -> None:
    """Of two processes, interrupted in the second stage, whose state is the larger one."""
    assert upstream_source.pinned
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for words in [("--run", str(whole)), ("--run", str(parts), "--stop-after", "5"), ("--run", str(parts))]:
        ran = training("train", *words, "--steps", "8", "--processes", "2")
        assert ran.returncode == 0, ran.stderr
    for name, count in (("log.jsonl", 8), ("clicks.jsonl", 2)):
        expected, found = log(whole, name), log(parts, name)
        assert len(expected) == len(found) == count
        for one, other in zip(expected, found, strict=True):
            assert {**one, "seconds": 0} == {**other, "seconds": 0}
    other_recipe = training("train", "--run", str(whole), "--steps", "9", "--processes", "1")
    assert other_recipe.returncode == 1
    assert "another recipe" in other_recipe.stderr


def test_what_it_offers_is_said() -> None:
    ran = training("--help")
    assert ran.returncode == 0
    assert all(command in ran.stdout for command in ("train", "clicks", "pack", "evaluate"))
