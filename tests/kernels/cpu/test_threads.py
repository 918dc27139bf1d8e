"""The number of threads changes nothing: not even the last bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.kernels.computing import compile_all
from tests.kernels.running import Array
from tests.kernels.stand_in import put_in

THREADS = ("1", "2", str(2 * (os.cpu_count() or 1) + 1))
"""The last: more than there are cores."""
KERNELS = 10 + 3 * 5 + 1
"""Those of float32, the products in float32 and in both ways of bfloat16, attention in bfloat16."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Array]]:
    folder = tmp_path_factory.mktemp("threads")
    with pytest.MonkeyPatch.context() as patched:
        put_in(patched)  # any CPU has to do
        kernels = compile_all()
    found = []
    for threads in THREADS:
        file = folder / f"{threads}.npz"
        environment = {**os.environ, "TVM_NUM_THREADS": threads}
        command = [sys.executable, "-m", "tests.kernels.computing", str(kernels), str(file)]
        subprocess.run(command, check=True, env=environment, cwd=Path(__file__).parents[3])
        with np.load(file) as archive:
            found.append(dict(archive))
    return found


def test_bits_do_not_depend_on_threads(results: list[dict[str, Array]]) -> None:
    one, *others = results
    assert len(one) == KERNELS
    for other in others:
        for name, value in one.items():
            assert not np.isnan(value).any(), name
            np.testing.assert_array_equal(value, other[name], err_msg=name)
