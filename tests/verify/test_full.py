"""Upstream's own sizes: every component that is built and proved in less than a minute. The others are for
``sam3port verify --preset full``.

Pictures have two thirds of upstream's width and height, which leaves every kernel with many blocks of rows and every
choice between kernels as it is, and takes half the time. With SAM3PORT_FULL=1 (``tox -e full``) they have all of it.
"""

from __future__ import annotations

import json
import os
from typing import Any, Final

import pytest

from sam3port.components.builtin import sam3port_components
from sam3port.upstream.source import Upstream
from tests.cli.conftest import call

QUICK: Final = (
    "geometry_encoder",
    "mask_prompt_encoder",
    "transformer_encoder",
    "segmentation_head",
    "scoring_head",
    "prompt_encoder",
    "mask_decoder",
)
SLOW: Final = {
    "vision_backbone": "half a minute an input in PyTorch, twice that in float64",
    "image_encoder": "the same with a second neck",
    "text_encoder": "354 million weights to export, import and pack",
    "transformer_encoder_maps": "the fusion encoder, which is among the quick ones, once more",
    "transformer_decoder": "its import and compilation",
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, upstream_source: Upstream) -> dict[str, Any]:
    assert upstream_source.pinned
    folder = tmp_path_factory.mktemp("full")
    smaller = () if os.environ.get("SAM3PORT_FULL") == "1" else ("--resolution", "672")
    options = ("--preset", "full", *smaller, "--seeds", "1", "--report", str(folder / "report"))
    done = call("verify", *QUICK, *options, cwd=folder, timeout=1800, TVM_NUM_THREADS="2")
    file = folder / "report" / "verification_report.json"
    assert file.is_file(), done.stderr
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    assert (done.returncode == 0) == content["passed"]
    return content


@pytest.mark.parametrize("name", QUICK)
def test_component_is_what_upstream_computes(name: str, report: dict[str, Any]) -> None:
    results = [result for result in report["outputs"] if result["component"] == name]
    assert [failure for failure in report["failures"] if failure["component"] == name] == []
    assert [line for line in report["shortcomings"] if line.startswith(f"{name}, ")] == []
    assert all(result["passed"] for result in results)
    assert all("seed 1000" in result["cases"] for result in results)


def test_no_component_is_forgotten() -> None:
    assert set(QUICK) | set(SLOW) == {component.name for component in sam3port_components()}
