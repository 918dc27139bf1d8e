"""The number of threads changes nothing: not even the last bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PROGRAM = """
import sys
import numpy as np
from sam3port.kernels.cpu import convolution, gemm, normalisation
from sam3port.kernels.cpu.attention import AttentionSpec, attention_func
from tests.kernels.running import UNIT, random, run

x, weight, bias = random(0, 331, 200), random(1, 150, 200), random(2, 150)
results = {
    "linear": run(
        gemm.linear_func(331, 150, 200, UNIT, ("add_vector", "gelu")), [x, gemm.pack_weight(weight, UNIT), bias],
        (331, 150),
    ),
    "few_rows": run(gemm.linear_func(3, 150, 200, UNIT), [x[:3], gemm.pack_weight(weight, UNIT)], (3, 150)),
    "layer_norm": run(normalisation.layer_norm_func(331, 200, 1e-5, UNIT), [x, weight[0], weight[1]], x.shape),
}
q, k, v = (random(seed, 1, 3, 250, 32) for seed in range(3))
results["attention"] = run(attention_func(AttentionSpec(1, 3, 250, 250, 32, 32, 0.2), UNIT), [q, k, v], q.shape)
spec = convolution.ConvolutionSpec(1, 9, 31, 37, 20, (3, 3), padding=(1, 1, 1, 1))
image, kernel = random(3, 1, 9, 31, 37), random(4, 20, 9, 3, 3)
packed = convolution.pack_convolution(kernel, UNIT)
results["convolution"] = run(convolution.convolution_func(spec, UNIT), [image, packed], (1, 20, spec.pixels))
np.savez(sys.argv[1], **results)
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, np.ndarray]]:
    found = []
    for threads in ("1", "2", "3"):
        file = tmp_path_factory.mktemp("threads") / f"{threads}.npz"
        environment = {**os.environ, "TVM_NUM_THREADS": threads}
        root = Path(__file__).parents[2]
        subprocess.run([sys.executable, "-c", PROGRAM, str(file)], check=True, env=environment, cwd=root)
        with np.load(file) as archive:
            found.append(dict(archive))
    return found


def test_bits_do_not_depend_on_threads(results: list[dict[str, np.ndarray]]) -> None:
    one, *others = results
    assert len(one) == 5
    for other in others:
        for name, value in one.items():
            assert not np.isnan(value).any(), name
            np.testing.assert_array_equal(value, other[name], err_msg=name)
