"""The states of `apply-patches`: what really became of each patch in a fresh interpreter."""

from __future__ import annotations

import json

import pytest

from tests.patching.lab import BOX, PLUGIN, Lab, built_in_patches, distribution


def outcomes(lab: Lab, *arguments: str, status: int = 0, **environment: str) -> dict[str, tuple[str, str]]:
    """State and reason of each patch that is not one of ours."""
    process = lab.python("-m", "sam3port", "apply-patches", "--json", *arguments, **environment)
    assert process.returncode == status, process.stdout + process.stderr
    ours = built_in_patches()
    return {
        p["name"]: (p["state"], p["reason"]) for p in json.loads(process.stdout)["patches"] if p["name"] not in ours
    }


def plugin(lab: Lab, patches: str, before: str = "") -> None:
    source = (
        PLUGIN[: PLUGIN.index("@hookimpl")] + f"{before}\n@hookimpl\ndef sam3port_patches():\n    return [{patches}]\n"
    )
    distribution(lab.plugins, "trial_plugin", source)


def test_applied(lab: Lab) -> None:
    assert outcomes(lab) == {"double": ("applied", "does double"), "kernel": ("applied", "does kernel")}
    assert not lab.bytecode()


@pytest.mark.parametrize("how", ["argument", "variable", "file"])
def test_off(lab: Lab, how: str) -> None:
    if how == "file":
        (lab.folder / "pyproject.toml").write_text('[tool.sam3port]\ndisable = ["double"]\n')
    environment = {"SAM3PORT_DISABLE": "double"} if how == "variable" else {}
    found = outcomes(lab, *(["--disable", "double"] if how == "argument" else []), **environment)
    assert found == {"double": ("off", "switched off"), "kernel": ("applied", "does kernel")}


def test_drift_does_not_hide_what_became_of_the_others(lab: Lab) -> None:
    lab.commit({"sam3/model/box.py": BOX.replace("width * height", "width * height * 1")})
    found = outcomes(lab, status=1)
    assert found["double"][0] == "drift"
    assert found["double"][1].startswith("sam3.model.box:area: edited: ")
    assert found["kernel"] == ("applied", "does kernel")


def test_conflict(lab: Lab) -> None:
    plugin(lab, "patch('rival', ('sam3.model.box', 'area', 'width * height', '0'))")
    found = outcomes(lab, status=1)
    assert found["rival"][0] == "drift"
    assert "conflict: it replaces text that the patch double replaces too" in found["rival"][1]
    assert found["double"] == ("applied", "does double")


def test_not_needed(lab: Lab) -> None:
    plugin(lab, "patch('idle', ('sam3.model.plain', 'plain', '1', '2'), not_needed=lambda: 'nothing to do')")
    assert outcomes(lab)["idle"] == ("not needed here", "nothing to do")


def test_a_module_that_cannot_be_imported(lab: Lab) -> None:
    lab.commit({"sam3/perflib/triton/kernel.py": "import no_such_module\n" + "def kernel():\n    return 'upstream'\n"})
    found = outcomes(lab, status=1)
    assert found["double"][0] == "applied"
    assert found["kernel"] == (
        "failed",
        "sam3.perflib.triton.kernel cannot be imported: ModuleNotFoundError: No module named 'no_such_module'",
    )


def test_upstream_that_cannot_be_imported(lab: Lab) -> None:
    lab.commit({"sam3/__init__.py": "1 / 0\n"})
    found = outcomes(lab, status=1)
    assert {state for state, _ in found.values()} == {"failed"}
    assert "sam3 cannot be imported: ZeroDivisionError" in found["double"][1]


@pytest.mark.parametrize(
    ("prepare", "state", "reason"),
    [
        ("lambda: None", "applied", "does ready"),
        ("lambda: 'is there already'", "not needed here", "is there already"),
        ("lambda: 1 / 0", "failed", "sam3 cannot be imported: ZeroDivisionError: division by zero"),
    ],
)
def test_prepare(lab: Lab, prepare: str, state: str, reason: str) -> None:
    plugin(lab, f"patch('ready', prepare={prepare})")
    assert outcomes(lab, status=1 if state == "failed" else 0)["ready"] == (state, reason)


def test_upstream_that_prints_does_not_disturb(lab: Lab) -> None:
    lab.commit({"sam3/__init__.py": "import sys\nprint('{')\nprint('}', file=sys.stderr)\n"})
    assert outcomes(lab)["double"][0] == "applied"


def test_upstream_that_ends_the_process(lab: Lab) -> None:
    lab.commit(
        {"sam3/__init__.py": "import os, sys\nprint('out of memory', file=sys.stderr, flush=True)\nos._exit(3)\n"}
    )
    process = lab.python("-m", "sam3port", "apply-patches")
    assert process.returncode == 1
    assert "the fresh interpreter ended with status 3: out of memory" in process.stderr
    assert "Traceback" not in process.stderr


def test_upstream_is_named_by_a_tilde(lab: Lab) -> None:
    found = outcomes(lab, "--upstream=~/checkout", HOME=str(lab.folder), SAM3PORT_UPSTREAM="")
    assert found["double"][0] == "applied"


def test_another_sam3_in_the_working_folder(lab: Lab) -> None:
    (lab.folder / "sam3").mkdir()
    (lab.folder / "sam3/__init__.py").write_text("raise SystemExit('the wrong one')\n")
    assert outcomes(lab)["double"][0] == "applied"
