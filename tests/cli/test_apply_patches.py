"""`sam3port apply-patches`: applies for real, says what became of each patch, and never claims more."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from sam3port.plugins import load_plugins
from tests.cli.conftest import Program, call
from tests.conftest import clean_environment

PATCHES = sorted(load_plugins().patches())


def states(text: str) -> dict[str, str]:
    return {patch["name"]: patch["state"] for patch in json.loads(text)["patches"]}


def test_every_enabled_patch_applies(sam3port: Program) -> None:
    done = sam3port("apply-patches", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert sorted(patch["name"] for patch in result["patches"]) == PATCHES
    assert set(states(done.stdout).values()) <= {"applied", "not needed here"}
    for patch in result["patches"]:
        assert set(patch) == {"name", "kind", "state", "modules", "edits", "reason"}
        assert patch["reason"]
        if patch["edits"]:
            assert patch["modules"]
    assert result["upstream"]["pinned"] is True
    assert result["upstream"]["commit"] == "d0b1b9d5aafeac07e893ab87e002eaaaa7381802"


def test_the_table_names_every_patch_and_a_switched_off_one_says_so(sam3port: Program) -> None:
    done = sam3port("apply-patches", "--disable", "float_rope")
    assert done.returncode == 0, done.stderr
    for name in PATCHES:
        assert name in done.stdout
    (line,) = (line for line in done.stdout.splitlines() if "float_rope" in line)
    assert " off " in line
    assert "1 off" in done.stdout


def test_switching_off_by_environment_and_with_commas(sam3port: Program) -> None:
    done = sam3port("apply-patches", "--json", SAM3PORT_DISABLE="float_rope, static_shapes")
    assert {name for name, state in states(done.stdout).items() if state == "off"} == {"float_rope", "static_shapes"}


def test_all_off_is_no_failure_and_imports_nothing(sam3port: Program) -> None:
    done = sam3port("apply-patches", "--json", "--disable", ",".join(PATCHES))
    assert done.returncode == 0, done.stderr
    assert set(states(done.stdout).values()) == {"off"}


def test_an_unknown_name_is_wrong_use_and_lists_the_known_ones(sam3port: Program) -> None:
    done = sam3port("apply-patches", "--disable", "flaot_rope")
    assert done.returncode == 2
    assert "flaot_rope" in done.stderr
    for name in PATCHES:
        assert name in done.stderr
    assert "Traceback" not in done.stderr


def test_options_that_exclude_each_other(sam3port: Program, tmp_path: Path) -> None:
    done = sam3port("apply-patches", "--diff", "--write", str(tmp_path / "copy"))
    assert done.returncode == 2
    assert not (tmp_path / "copy").exists()


def test_without_its_stub_a_patch_set_fails_and_names_the_cause(sam3port: Program) -> None:
    done = sam3port("apply-patches", "--json", "--disable", "triton_stub,edt_cpu")
    assert done.returncode == 1
    reasons = {patch["name"]: patch["reason"] for patch in json.loads(done.stdout)["patches"]}
    assert "No module named 'triton'" in reasons["cpu_device"]
    assert states(done.stdout)["cpu_device"] == "failed"
    assert states(done.stdout)["triton_stub"] == "off"


def changed_checkout(upstream_root: Path, folder: Path, relative: str, before: str, after: str) -> Path:
    """A user's git checkout of another commit: the pinned one with one text replaced."""
    for name in ("sam3", "assets"):
        shutil.copytree(upstream_root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(upstream_root / "LICENSE", folder)
    file = folder / relative
    text = file.read_text(encoding="utf-8")
    assert before in text
    file.write_text(text.replace(before, after), encoding="utf-8")
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "-A", "-f"], [*identity, "commit", "-q", "-m", "x"]):
        subprocess.run(["git", *command], cwd=folder, check=True, timeout=60)
    return folder


def test_a_changed_anchor_is_drift_with_its_verdict(sam3port: Program, upstream_root: Path, tmp_path: Path) -> None:
    checkout = changed_checkout(
        upstream_root,
        tmp_path / "checkout",
        "sam3/model/edt.py",
        "import triton\nimport triton.language as tl\n",
        "import triton.language as tl, triton\n",
    )
    done = sam3port("apply-patches", "--json", "--upstream", str(checkout))
    assert done.returncode == 1
    patches = {patch["name"]: patch for patch in json.loads(done.stdout)["patches"]}
    assert patches["triton_stub"]["state"] == "drift"
    assert "sam3.model.edt: edited" in patches["triton_stub"]["reason"]
    assert "NOT the pinned" in done.stderr
    used = sam3port("run", "--upstream", str(checkout), "-m", "sam3.model.edt")
    assert used.returncode == 1
    assert "edited" in used.stderr
    assert "--disable triton_stub" in used.stderr


def test_one_changed_character_is_named(sam3port: Program, upstream_root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "plain"
    shutil.copytree(upstream_root, copy, ignore=shutil.ignore_patterns("__pycache__"))
    file = copy / "sam3" / "model" / "box_ops.py"
    file.chmod(0o644)
    file.write_text(file.read_text(encoding="utf-8").replace("torch", "torhc", 1), encoding="utf-8")
    verified = sam3port("upstream", "verify", "--upstream", str(copy))
    assert verified.returncode == 1
    assert "sam3/model/box_ops.py" in verified.stdout + verified.stderr
    imported = sam3port("run", "--upstream", str(copy), "-m", "sam3.model.box_ops")
    assert imported.returncode == 1
    assert "sam3/model/box_ops.py" in imported.stderr


def test_the_diff_applies_with_the_program_patch_and_equals_the_written_copy(
    sam3port: Program, upstream_root: Path, tmp_path: Path
) -> None:
    diff = sam3port("apply-patches", "--diff")
    assert diff.returncode == 0, diff.stderr
    by_diff = tmp_path / "by_diff"
    shutil.copytree(upstream_root, by_diff, ignore=shutil.ignore_patterns("__pycache__"))
    for file in by_diff.rglob("*.py"):
        file.chmod(0o644)
    subprocess.run(["git", "apply", "-p1"], cwd=by_diff, input=diff.stdout, text=True, check=True, timeout=60)
    written = tmp_path / "written"
    done = sam3port("apply-patches", "--write", str(written))
    assert done.returncode == 0, done.stderr
    for file in sorted(written.rglob("*.py")):
        assert file.read_text(encoding="utf-8") == (by_diff / file.relative_to(written)).read_text(encoding="utf-8")


def test_the_diff_of_one_patch_changes_only_its_modules(sam3port: Program) -> None:
    done = sam3port("apply-patches", "--diff", "pin_memory")
    changed = {line[6:] for line in done.stdout.splitlines() if line.startswith("+++ b/")}
    modules = load_plugins().patches()["pin_memory"].modules
    assert changed == {module.replace(".", "/") + ".py" for module in modules}
    unknown = sam3port("apply-patches", "--diff", "no_such_patch")
    assert unknown.returncode == 2


def test_a_written_copy_runs_without_the_hook_and_carries_the_licence(sam3port: Program, tmp_path: Path) -> None:
    written = tmp_path / "copy"
    done = sam3port("apply-patches", "--write", str(written))
    assert done.returncode == 0, done.stderr
    assert "SAM License" in (written / "LICENSE").read_text(encoding="utf-8")
    code = "import sam3.model.edt as e, sys; print(e.__file__, [f for f in sys.meta_path if 'sam3port' in repr(f)])"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=clean_environment(PYTHONPATH=str(written)),
        capture_output=True,
        text=True,
        timeout=120,
    )
    # The package sam3 itself imports torchvision, which that patch prepares under the hook only; so ask for one module.
    assert str(written) in ran.stdout + ran.stderr
    again = sam3port("apply-patches", "--write", str(written), "--disable", "float_rope")
    assert again.returncode == 0, again.stderr
    assert "float_rope" not in (written / "SAM3PORT_PATCHED.txt").read_text(encoding="utf-8")


def test_a_folder_of_somebody_else_is_not_overwritten(sam3port: Program, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.tex").write_text("x", encoding="utf-8")
    done = sam3port("apply-patches", "--write", str(folder))
    assert done.returncode == 2
    assert [file.name for file in folder.iterdir()] == ["thesis.tex"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mine"]


BUILD = "from sam3 import build_sam3_image_model as b; print('built', callable(b))"


def test_activation_reaches_every_interpreter_and_deactivation_ends_it(
    sam3port: Program, environment: Path, tmp_path: Path
) -> None:
    assert sam3port("patches").returncode == 0

    def python(code: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(environment), "-c", code],
            cwd=tmp_path,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=120,
        )

    assert "No module named 'sam3'" in python(BUILD).stderr
    done = call("apply-patches", "--activate", "--disable", "float_rope", python=str(environment), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert python(BUILD).stdout.strip() == "built True"
    idle = python("import sys; print(sorted({'torch', 'numpy', 'tvm', 'pluggy', 'typing'} & set(sys.modules)))")
    assert "torch" not in idle.stdout
    assert "numpy" not in idle.stdout
    disabled = python("import sam3.sam.rope, sam3port.patching.install as i; print(i.current().plan.disabled)")
    assert "float_rope" in disabled.stdout
    undone = call("apply-patches", "--deactivate", python=str(environment), cwd=tmp_path)
    assert undone.returncode == 0
    assert "No module named 'sam3'" in python(BUILD).stderr
    assert "not active" in call("apply-patches", "--deactivate", python=str(environment), cwd=tmp_path).stderr


def test_a_set_that_does_not_apply_is_not_activated(environment: Path, tmp_path: Path) -> None:
    done = call(
        "apply-patches", "--activate", "--disable", "triton_stub,edt_cpu", python=str(environment), cwd=tmp_path
    )
    assert done.returncode == 1
    assert "not activated" in done.stderr
    assert not list(environment.parent.parent.rglob("sam3port-activate.pth"))
