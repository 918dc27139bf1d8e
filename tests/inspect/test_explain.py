"""What ``sam3port build --explain`` says is what the library does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sam3port.build.request import BuildRequest
from sam3port.inspect.explain import Origin, Share, explain
from tests.cli.conftest import Completed, Program, call


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, upstream_root: Path) -> tuple[Completed, Path]:
    assert upstream_root.is_dir()
    folder = tmp_path_factory.mktemp("explained")
    ran = call("build", "transformer_encoder", "--explain", "--out", "out", cwd=folder, timeout=600)
    assert ran.returncode == 0, ran.stderr
    return ran, folder / "out" / "transformer_encoder"


@pytest.fixture(scope="module")
def shares(built: tuple[Completed, Path]) -> list[Share]:
    build = BuildRequest(components=("transformer_encoder",))
    return explain(built[1], build.component("transformer_encoder").example(build.sizes(), 1))


@pytest.fixture
def sam3port(tmp_path: Path) -> Program:
    return lambda *arguments: call(*arguments, cwd=tmp_path)


def test_the_shares_are_those_of_one_run(shares: list[Share]) -> None:
    assert sum(share.share for share in shares) == pytest.approx(1)
    assert [share.seconds for share in shares] == sorted((share.seconds for share in shares), reverse=True)
    assert {share.origin for share in shares} == set(Origin) - {Origin.SERIAL} | {share.origin for share in shares}


def test_the_work_of_the_kernels_is_the_work_of_the_component(
    shares: list[Share], built: tuple[Completed, Path]
) -> None:
    """Counted twice: from the kernels' shapes, and by PyTorch's formulas on the exported program."""
    from sam3port.compiler.export import load
    from sam3port.compiler.stage import EXPORTED
    from sam3port.inspect.describe import count_flops

    of_kernels = sum(share.flops or 0 for share in shares)
    assert of_kernels == pytest.approx(count_flops(load(built[1] / EXPORTED)), rel=0.02)


def test_every_attention_is_found(shares: list[Share]) -> None:
    """Each layer has one within the image and one to the prompt."""
    layers = BuildRequest(components=()).sizes().encoder_layers
    assert sum(share.calls for share in shares if share.kernel == "attention") == 2 * layers


def test_the_command_names_kernels_and_what_has_none(built: tuple[Completed, Path]) -> None:
    said = built[0].stdout
    assert "transformer_encoder: " in said and "GFLOP/s" in said
    assert re.search(r"attention\s*│ \d+ x \d+ in registers of \d+", said)
    assert re.search(r"\d+ functions on the general rule: [\d.]+% of the time", said)


def test_the_command_shows_which_products_take_which_number_format(built: tuple[Completed, Path]) -> None:
    assert "number formats of a build in float32" in built[0].stdout
    assert re.search(r"everything\s*│ float32\s*│ the build is in float32", built[0].stdout)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--until", "pack"), "--explain runs what was built, and --until pack builds nothing that runs"),
        (("--triple", "aarch64-linux-gnu"), "cannot run here"),
    ],
)
def test_what_cannot_run_cannot_be_explained(sam3port: Program, words: tuple[str, ...], problem: str) -> None:
    ran = sam3port("build", "scoring_head", "--explain", *words)
    assert ran.returncode == 2
    assert problem in ran.stderr
