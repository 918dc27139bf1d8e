"""Numbers of points and boxes that stay symbolic in an exported geometry encoder.

What breaks: `PositionEmbeddingSine._encode_xy` asks `len(x)`, which Python turns into a plain int. Exporting the
geometry encoder with a dynamic number of prompts then fails: "your code specialized it to be a constant". The shape
says the same and stays symbolic.
"""

from __future__ import annotations

from sam3port.hookspecs import hookimpl
from sam3port.patching import Edit, Kind, Patch

PATCH = Patch(
    name="symbolic_prompts",
    kind=Kind.EXPORT,
    summary="numbers of prompts may stay symbolic in torch.export",
    reason="torch.export turns a dynamic number of points or boxes into the constant of the example",
    upstream="sam3/model/position_encoding.py:54",
    retire_when="upstream compares shapes there, or len() of a traced tensor stays symbolic",
    edits=(
        Edit(
            module="sam3.model.position_encoding",
            symbol="PositionEmbeddingSine._encode_xy",
            before="len(x) == len(y)",
            after="x.shape == y.shape",
        ),
    ),
)


@hookimpl
def sam3port_patches() -> list[Patch]:
    return [PATCH]
