"""Every kernel on inputs of its own: ``python -m tests.kernels.computing LIBRARY OUT.npz``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tvm

from sam3port.kernels.cpu.attention.attention import attention_func
from sam3port.kernels.cpu.attention.spec import AttentionSpec
from sam3port.kernels.cpu.convolutions import convolution
from sam3port.kernels.cpu.convolutions.depthwise import DepthwiseSpec, depthwise_func
from sam3port.kernels.cpu.convolutions.transposed_convolution import transposed_convolution_func
from sam3port.kernels.cpu.elementwise import normalisation
from sam3port.kernels.cpu.elementwise.channel_norm import channel_norm_func
from sam3port.kernels.cpu.elementwise.roi_align import RoiAlignSpec, roi_align_func
from sam3port.kernels.cpu.formats.format import Arithmetic
from sam3port.kernels.cpu.products import gemm
from sam3port.kernels.cpu.products.matmul import matmul_func
from sam3port.kernels.cpu.products.narrow_mlp import narrow_mlp_func
from sam3port.kernels.cpu.scheduling.schedules import linear_schedule
from tests.compiled import library
from tests.kernels.running import CPU, HOST, IN_FLOAT32, Array, random
from tests.kernels.stand_in import PAIRED, WIDENED


@dataclass(frozen=True)
class Call:
    """A kernel, what goes in, and the shape of what comes out."""

    function: Any
    inputs: Sequence[Array]
    shape: Sequence[int]


def products(arithmetic: Arithmetic) -> dict[str, Call]:
    """Those whose operands are rounded to the arithmetic's type."""
    x, bias, packed = random(0, 331, 201), random(2, 150), gemm.pack_weight(random(1, 150, 201), arithmetic)
    image = random(3, 1, 9, 31, 37)
    spec = convolution.ConvolutionSpec(1, 9, 31, 37, 20, (3, 3), padding=(1, 1, 1, 1))
    filters = convolution.pack_convolution(random(4, 20, 9, 3, 3), arithmetic)
    enlarging = convolution.pack_transposed(random(7, 9, 20, 2, 2), arithmetic)
    epilogue = ("add_vector", "gelu")
    return {
        "linear": Call(gemm.linear_func(331, 150, 201, arithmetic, epilogue), [x, packed, bias], (331, 150)),
        "few_rows": Call(gemm.linear_func(3, 150, 201, arithmetic), [x[:3], packed], (3, 150)),
        "matmul": Call(
            matmul_func(3, 101, 37, 71, arithmetic), [random(5, 3, 101, 71), random(6, 3, 71, 37)], (3, 101, 37)
        ),
        "convolution": Call(convolution.convolution_func(spec, arithmetic), [image, filters], (1, 20, spec.pixels)),
        "transposed_convolution": Call(
            transposed_convolution_func(1, 9, (31, 37), 20, (2, 2), arithmetic),
            [image.reshape(1, 9, -1), enlarging],
            (1, 20, 62, 74),
        ),
    }


def others() -> dict[str, Call]:
    """Those that compute in float32 whatever the arithmetic's type."""
    x, gamma, beta = random(0, 331, 200), random(1, 200), random(2, 200)
    image = random(3, 2, 9, 31, 37)
    heads = [random(seed, 1, 3, 250, 32) for seed in range(3)]
    flat = image.reshape(2, 9, -1)
    depthwise = DepthwiseSpec(2, 9, 31, 37, (7, 7), padding=(3, 3, 3, 3))
    regions = np.array([[i % 2, i, i, 20 + i, 30 - i] for i in range(11)], dtype=np.float32)
    pooling = RoiAlignSpec(2, 9, 31, 37, 11, (7, 7), 1.0, 0)
    halved = replace(linear_schedule(331, 256, 200, IN_FLOAT32), block_rows=48, halvings=1)
    packed = gemm.pack_weight(random(7, 256, 200), IN_FLOAT32, halved)
    return {
        "halved": Call(gemm.linear_func(331, 256, 200, IN_FLOAT32, (), halved), [x, packed], (331, 256)),
        "attention": Call(
            attention_func(AttentionSpec(1, 3, 250, 250, 32, 32, 0.2), IN_FLOAT32), heads, heads[0].shape
        ),
        "attention_of_few": Call(
            attention_func(AttentionSpec(1, 3, 7, 250, 32, 32, 0.2), IN_FLOAT32),
            [heads[0][:, :, :7], *heads[1:]],
            (1, 3, 7, 32),
        ),
        "narrow_mlp": Call(
            narrow_mlp_func(331, 2, 200, 9, CPU, ("relu",)),
            [x[:, :2], random(8, 200, 2), random(9, 200, 9)],
            (331, 9),
        ),
        "layer_norm": Call(normalisation.layer_norm_func(331, 200, 1e-5, CPU), [x, gamma, beta], x.shape),
        "softmax": Call(normalisation.softmax_func(331, 200, CPU), [x], x.shape),
        "group_norm": Call(
            normalisation.group_norm_func(2, 9, 31 * 37, 3, 1e-5, CPU), [flat, gamma[:9], beta[:9]], flat.shape
        ),
        "channel_norm": Call(channel_norm_func(2, 9, 31 * 37, 1e-5, CPU), [flat], flat.shape),
        "depthwise": Call(depthwise_func(depthwise, CPU), [image, random(6, 9, 7, 7)], flat.shape),
        "roi_align": Call(roi_align_func(pooling, CPU), [image, regions], (11, 9, 7, 7)),
    }


def calls() -> dict[str, Call]:
    """All of them, by name."""
    found = others()
    heads = found["attention"].inputs
    attention = attention_func(AttentionSpec(1, 3, 250, 250, 32, 32, 0.2), PAIRED)
    found["attention_paired"] = Call(attention, heads, heads[0].shape)
    for name, arithmetic in {"float32": IN_FLOAT32, "widened": WIDENED, "paired": PAIRED}.items():
        found |= {f"{kernel}_{name}": call for kernel, call in products(arithmetic).items()}
    return found


def compile_all() -> Path:
    """The library of `calls`."""
    functions = {name: call.function.with_attr("global_symbol", name) for name, call in calls().items()}
    return library(tvm.IRModule(functions), HOST)


def main() -> None:
    kernels = tvm.runtime.load_module(sys.argv[1])
    results = {}
    for name, call in calls().items():
        out = tvm.runtime.tensor(np.full(call.shape, np.nan, dtype=np.float32))
        kernels[name](*[tvm.runtime.tensor(np.ascontiguousarray(x)) for x in call.inputs], out)
        results[name] = out.numpy()
    np.savez(sys.argv[2], **results)


if __name__ == "__main__":
    main()
