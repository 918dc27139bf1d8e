"""The report: what it says of a proof that passes, of one that fails, and of one that has nothing to show."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from sam3port.artifact.interface import TensorSpec
from sam3port.build.request import BuildRequest
from sam3port.components.component import Tolerance
from sam3port.verify.judge import Runs, Verdict, judge
from sam3port.verify.proof import Proof
from sam3port.verify.report import JSON, MARKDOWN, PLOT, write_report
from sam3port.verify.runs import Failure, Outcome, Run

RIGHT = np.linspace(-1, 1, 60, dtype=np.float32).reshape(3, 20)
BUILD = BuildRequest(components=("head",), checkpoint=Path("/secret/place/sam3.pt"), seed=None)


def verdict(output: str, compiled: np.ndarray, case: str = "seed 1000") -> Verdict:
    runs = Runs(RIGHT, RIGHT.astype(np.float64) + 1e-8, RIGHT, RIGHT, compiled)
    return judge("head", case, TensorSpec(output, (3, 20), "float32", ""), runs, Tolerance())


def written(proof: Proof, folder: Path) -> tuple[dict[str, object], str]:
    files = write_report(proof, folder, "sam3port verify head")
    assert [file.name for file in files] == [JSON, MARKDOWN, PLOT]
    assert sorted(file.name for file in folder.iterdir()) == sorted([JSON, MARKDOWN, PLOT])
    assert files[2].read_bytes().startswith(b"\x89PNG")
    return json.loads(files[0].read_text(encoding="utf-8")), files[1].read_text(encoding="utf-8")


def test_a_proof_that_passes(tmp_path: Path) -> None:
    near = RIGHT.copy()
    near[0, 0] += np.float32(6e-8)
    proof = Proof(BUILD, 1, [verdict("scores", RIGHT), verdict("boxes", near)])
    proof.outcomes = {Run.REFERENCE: Outcome(patches=("pin_memory",), seconds=1.5)}
    content, text = written(proof, tmp_path)
    assert content["passed"] is True
    assert "**Passed**: 2 comparisons of 1 components, 0 fall short." in text
    assert "`pin_memory`" in text
    assert "What falls short" not in text
    assert "```sh\nsam3port verify head\n```" in text
    assert [line.split("|")[2].strip() for line in text.splitlines() if line.startswith("| `")] == [
        "`scores`",
        "`boxes`",
    ]


def test_private_paths_stay_out(tmp_path: Path) -> None:
    content, text = written(Proof(BUILD, 1, [verdict("scores", RIGHT)]), tmp_path)
    assert "secret" not in json.dumps(content) + text
    assert "sam3.pt" in text


def test_a_proof_that_fails(tmp_path: Path) -> None:
    wrong = RIGHT.copy()
    wrong[2, 7] += 0.5
    missing = np.full_like(RIGHT, math.nan)
    bad = [verdict("scores", wrong, "one box"), verdict("boxes", missing), verdict("logits", RIGHT[:2])]
    proof = Proof(BUILD, 1, [verdict("scores", RIGHT), *bad])
    proof.failures = [Failure(Run.COMPILED, "text", "empty", "its process was ended by SIGSEGV")]
    content, text = written(proof, tmp_path)
    assert content["passed"] is False
    assert "**FAILED**: 4 comparisons of 1 components, 4 fall short." in text
    lines = text.splitlines()
    (scores,) = (line for line in lines if line.startswith("- head, one box, scores: "))
    assert " at [2, 7]" in scores
    assert "at the stage tvm (patches 0.0e+00, export 0.0e+00, tvm 5.0e-01)" in scores
    assert any(line.startswith("- head, seed 1000, boxes: nan instead of ") for line in lines)
    assert any("the compiled run gives float32[2, 20], float32[3, 20] is what should come" in line for line in lines)
    assert "- text, empty: the compiled run failed: its process was ended by SIGSEGV" in lines
    rows = {line.split("|")[2].strip(): line for line in lines if line.startswith("| `")}
    assert all(rows[f"`{name}`"].endswith("**FAIL** |") for name in ("scores", "boxes", "logits"))
    assert "Infinity" not in (tmp_path / JSON).read_text(encoding="utf-8")
    assert "NaN" not in (tmp_path / JSON).read_text(encoding="utf-8")


def test_a_proof_without_anything_is_no_proof(tmp_path: Path) -> None:
    content, text = written(Proof(BUILD, 1), tmp_path)
    assert content["passed"] is False
    assert "**FAILED**" in text


def test_a_report_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    written(Proof(BUILD, 1), tmp_path)
    content, _ = written(Proof(BUILD, 1, [verdict("scores", RIGHT)]), tmp_path)
    assert content["passed"] is True
