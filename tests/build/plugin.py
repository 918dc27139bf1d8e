"""A third party's distribution for tests: installed by lying on PYTHONPATH."""

from __future__ import annotations

from pathlib import Path

COMPONENTS = '''
"""Two components of somebody else: one that works and one whose operator nobody can import."""

import numpy as np
import torch

from sam3port.components.component import Component, TensorSpec
from sam3port.hookspecs import hookimpl


class Rows(Component):
    name, summary, upstream = "rows", "a linear layer of upstream's", "none"

    def inputs(self, preset):
        return (TensorSpec("x", (3, preset.d_model), "float32", "anything"),)

    def outputs(self, preset):
        return (TensorSpec("y", (3, preset.d_model), "float32", "anything"),)

    def module(self, model, preset):
        class Module(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = model.dot_prod_scoring.hs_proj

            def forward(self, x):
                return (self.finish(self.layer(x)),)

            finish = staticmethod(self.finish)

        return Module()

    finish = staticmethod(torch.relu)

    def example(self, preset, seed):
        return {"x": np.random.default_rng(seed).standard_normal((3, preset.d_model), np.float32)}


class Unknown(Rows):
    name, summary = "unknown_operator", "calls what TVM does not know"
    finish = staticmethod(torch.special.airy_ai)


class Converted(Unknown):
    name, summary = "converted", "calls what this plugin teaches TVM"
    finish = staticmethod(torch.special.bessel_j0)


class Dies(Rows):
    name, summary = "dies", "ends its process while it is exported"

    def module(self, model, preset):
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)


CLASSES = [Rows]


@hookimpl
def sam3port_components():
    return CLASSES


def convert(node, importer):
    from tvm import relax

    # J0 near zero is close to 1 - x * x / 4.
    x = importer.env[node.args[0]]
    emit = importer.block_builder.emit
    square = emit(relax.op.multiply(x, x))
    return emit(relax.op.subtract(relax.const(1.0), emit(relax.op.multiply(square, relax.const(0.25)))))


@hookimpl
def sam3port_converters():
    from sam3port.compiler.importing.converter import Converter

    return [Converter("special_bessel_j0.default", "TVM has none", "TVM has one", convert)]
'''


def install(folder: Path, classes: str = "[Rows]", name: str = "thirdparty") -> dict[str, str]:
    """Puts the distribution into ``folder``.

    Args:
        folder: is made.
        classes: which of the components it delivers.
        name: of its module and its entry point.

    Returns:
        The environment in which it is installed.
    """
    information = folder / f"{name}-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[sam3port]\n{name} = {name}\n")
    source = COMPONENTS.replace("CLASSES = [Rows]", f"CLASSES = {classes}")
    (folder / f"{name}.py").write_text(source)
    return {"PYTHONPATH": str(folder)}
