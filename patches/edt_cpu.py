"""The Euclidean distance transform off CUDA.

What breaks: `edt_triton` is upstream's only distance transform; ``assert data.is_cuda`` refuses everything else. The
tracker samples a correction click in the middle of an error region with it (`sample_one_point_from_error_center`, by
way of `get_next_point(method="center")`), in training and when it is evaluated interactively.

On CUDA nothing changes. Elsewhere SciPy's exact transform answers, with the same values, dtype and shape.
"""

from __future__ import annotations

from sam3port.hookspecs import hookimpl
from sam3port.patching import Edit, Kind, Patch

PATCH = Patch(
    name="edt_cpu",
    kind=Kind.PORTABILITY,
    summary="exact Euclidean distance transform off CUDA, by SciPy",
    reason="edt_triton asserts that its input is on CUDA: sampling a click from an error region fails",
    upstream="sam3/model/edt.py:129, called by sam3/model/sam3_tracker_utils.py:178",
    retire_when="edt_triton takes CPU tensors",
    edits=(
        Edit(
            module="sam3.model.edt",
            symbol="edt_triton",
            before="    assert data.is_cuda\n",
            after=(
                "    if not data.is_cuda:\n"
                "        from sam3port.replacements.distance_transform import euclidean_distance_transform\n\n"
                "        return euclidean_distance_transform(data)\n"
            ),
        ),
    ),
)


@hookimpl
def sam3port_patches() -> list[Patch]:
    return [PATCH]
