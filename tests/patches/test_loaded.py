"""`loaded_python`, which other tests here rely on: what fails there fails, and nothing of it is left for the next."""

from __future__ import annotations

import os
import signal

import pytest

from tests.patches.conftest import LoadedPython
from tests.patches.machine import assert_fails


@pytest.mark.parametrize(
    ("code", "status"), [("", 0), ("import sys; sys.exit()", 0), ("import sys; sys.exit(7)", 7), ("assert False", 1)]
)
def test_it_ends_as_an_interpreter_does(code: str, status: int, loaded_python: LoadedPython) -> None:
    assert loaded_python(code).returncode == status


def test_an_error_is_shown_with_where_it_was_raised(loaded_python: LoadedPython) -> None:
    ran = loaded_python("print('before')\nfrom sam3.model.box_ops import box_cxcywh_to_xyxy\nbox_cxcywh_to_xyxy(1)\n")
    assert_fails(ran, "box_ops.py", "^AttributeError: ")
    assert ran.stdout == "before\n"


def test_a_message_is_said(loaded_python: LoadedPython) -> None:
    ran = loaded_python("import sys; sys.exit('no cv2')")
    assert (ran.returncode, ran.stderr) == (1, "no cv2\n")


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_crash_is_one_and_the_next_runs(loaded_python: LoadedPython) -> None:
    assert loaded_python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)").returncode == -signal.SIGKILL
    assert loaded_python("").returncode == 0


def test_each_begins_anew(loaded_python: LoadedPython) -> None:
    changes = "import sam3.model.box_ops as ops, sys, torch\nops.mine = 1\ntorch.set_default_dtype(torch.float64)\n"
    assert loaded_python(changes + "sys.modules['mine'] = ops").returncode == 0
    kept = (
        "import sam3.model.box_ops as ops, sys, torch\nassert not hasattr(ops, 'mine') and 'mine' not in sys.modules\n"
    )
    assert loaded_python(f"{kept}\nassert torch.get_default_dtype() == torch.float32").returncode == 0


def test_all_patches_are_on(loaded_python: LoadedPython) -> None:
    code = """
        import sys
        from sam3port.patching.install import current
        from sam3port.plugins import load_plugins
        assert set(current().plan.disabled) == set()
        assert {patch.name for patch in current().plan.patches} | set(current().plan.not_needed) >= set(
            load_plugins().patches())
        assert "sam3.model_builder" in sys.modules and __name__ == "__main__"
        """
    ran = loaded_python(code)
    assert ran.returncode == 0, ran.stderr
