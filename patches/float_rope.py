"""Rotary position encoding without complex numbers.

What breaks: upstream keeps its rotations as complex64 buffers and multiplies complex tensors. TVM has no complex type,
so `from_exported_program` refuses the vision backbone. Upstream's own switch (`use_rope_real` of
sam3/sam/transformer.py:277) covers the tracker's attention only, still computes complex rotations first, and
sam3/model/vitdet.py has none.

The buffer `freqs_cis` becomes float32 `(L, C)`, cos and sin in turn, where it was complex64 `(L, C / 2)`: the same
memory. Complex checkpoints load.
"""

from __future__ import annotations

from sam3port.hookspecs import hookimpl
from sam3port.patching import Edit, Kind, Patch

_VITDET = "sam3.model.vitdet"
_ROPE = "sam3.sam.rope"
_POLAR = """\
    freqs_cis_x = torch.polar(torch.ones_like(freqs_x), freqs_x)
    freqs_cis_y = torch.polar(torch.ones_like(freqs_y), freqs_y)
"""
_REAL = """\
    freqs_cis_x = rope_real.rotations(freqs_x)
    freqs_cis_y = rope_real.rotations(freqs_y)
"""


def _arithmetic(module: str) -> tuple[Edit, ...]:
    """The edits of `compute_axial_cis` and `apply_rotary_enc`, of which upstream has two copies."""
    return (
        Edit(module, "compute_axial_cis", before=_POLAR, after=_REAL),
        Edit(
            module,
            "apply_rotary_enc",
            before="xq_ = torch.view_as_complex(xq.float().reshape(*xq.shape[:-1], -1, 2))",
            after="xq_ = xq.float()",
        ),
        Edit(
            module,
            "apply_rotary_enc",
            before="torch.view_as_complex(xk.float().reshape(*xk.shape[:-1], -1, 2))",
            after="xk.float()",
        ),
        Edit(
            module,
            "apply_rotary_enc",
            before="torch.view_as_real(xq_ * freqs_cis).flatten(3)",
            after="rope_real.rotate_pairs(xq_, freqs_cis)",
        ),
        Edit(
            module,
            "apply_rotary_enc",
            before="torch.view_as_real(xk_ * freqs_cis).flatten(3)",
            after="rope_real.rotate_pairs(xk_, freqs_cis)",
        ),
    )


def _parts(symbol: str) -> Edit:
    """Upstream's `use_rope_real`, which takes the rotations' parts from the complex tensor."""
    indent = " " * 12
    return Edit(
        "sam3.sam.transformer",
        symbol,
        before=f"self.freqs_cis_real = self.freqs_cis.real\n{indent}self.freqs_cis_imag = self.freqs_cis.imag",
        after=f"self.freqs_cis_real = self.freqs_cis[:, 0::2]\n{indent}self.freqs_cis_imag = self.freqs_cis[:, 1::2]",
    )


PATCH = Patch(
    name="float_rope",
    kind=Kind.EXPORT,
    summary="rotary position encoding in real arithmetic instead of complex64",
    reason="TVM has no complex numbers: importing the exported vision backbone fails on complex64",
    upstream="sam3/model/vitdet.py:41-90,454-464, sam3/sam/rope.py:24-78, sam3/sam/transformer.py:277-331",
    retire_when="upstream's ViT has a switch like use_rope_real that keeps its buffers real, or TVM has complex64",
    edits=(
        Edit(
            _VITDET,
            "",
            before="from .model_misc import LayerScale\n",
            after="from sam3port.replacements import rope as rope_real\n\nfrom .model_misc import LayerScale\n",
        ),
        *_arithmetic(_VITDET),
        Edit(
            _VITDET,
            "Attention._setup_rope_freqs",
            before="torch.polar(torch.ones_like(t), t)[None, :]",
            after="rope_real.rotations(t)[None, :]",
        ),
        Edit(
            _VITDET,
            "Attention._setup_rope_freqs",
            before='self.register_buffer("freqs_cis", freqs_cis)',
            after=(
                'self.register_buffer("freqs_cis", freqs_cis)\n'
                "        self.register_load_state_dict_pre_hook(rope_real.load_complex_freqs_cis)"
            ),
        ),
        Edit(
            _ROPE,
            "",
            before="from torch import broadcast_tensors, nn\n",
            after="from torch import broadcast_tensors, nn\n\nfrom sam3port.replacements import rope as rope_real\n",
        ),
        *_arithmetic(_ROPE),
        _parts("RoPEAttention.__init__"),
        _parts("RoPEAttention.forward"),
    ),
)


@hookimpl
def sam3port_patches() -> list[Patch]:
    return [PATCH]
