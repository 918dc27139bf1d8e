"""Upstream's data sets import decord even when no video is read.

What breaks: ``from decord import cpu, VideoReader`` at the top of train/data/sam3_image_dataset.py. The tracker imports
upstream's collator, and the collator the data set, so ``import sam3`` fails without decord, which is unmaintained and
has no wheels for macOS on Apple silicon. It is used for one thing only there: frames of .mp4 files.

The tracker's own reader of .mp4 files (model/utils/sam2_utils.py) gets the same stand-in, so that it says what to do.
"""

from __future__ import annotations

from sam3port.hookspecs import hookimpl
from sam3port.patching import Edit, Kind, Patch
from sam3port.stubs import Stub, installed


def _not_needed() -> str | None:
    return "decord is installed" if installed("decord") else None


PATCH = Patch(
    name="decord_stub",
    kind=Kind.PORTABILITY,
    summary="import upstream without decord",
    reason="No module named 'decord': `import sam3` fails, by way of the collator that the tracker imports",
    upstream="sam3/train/data/sam3_image_dataset.py:18, sam3/model/utils/sam2_utils.py:213",
    retire_when="upstream imports decord where it reads a video",
    not_needed=_not_needed,
    edits=(
        Edit(
            module="sam3.train.data.sam3_image_dataset",
            symbol="",
            before="from decord import cpu, VideoReader\n",
            after=(
                "import sam3port.stubs\n\n"
                'decord = sam3port.stubs.module("decord")\n'
                "cpu, VideoReader = decord.cpu, decord.VideoReader\n"
            ),
        ),
        Edit(
            module="sam3.model.utils.sam2_utils",
            symbol="load_video_frames_from_video_file",
            before="    import decord\n",
            after='    import sam3port.stubs\n\n    decord = sam3port.stubs.module("decord")\n',
        ),
    ),
)

STUB = Stub(
    module="decord",
    reason="extract the video's frames into a folder of <number>.jpg files and pass that, or install decord",
)


@hookimpl
def sam3port_patches() -> list[Patch]:
    return [PATCH]


@hookimpl
def sam3port_stubs() -> list[Stub]:
    return [STUB]
