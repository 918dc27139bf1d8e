"""The columns of the tables that a job passes on and leaves."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

OBJECT: Final = pa.struct(
    [
        ("category", pa.int32()),  # COCO's id: 1 for the first text
        ("text", pa.string()),  # what it was found for
        ("score", pa.float64()),
        ("box", pa.list_(pa.float64(), 4)),  # x, y, width, height in pixels, within the picture
        ("area", pa.int64()),  # pixels of the mask, at least one
        ("rle", pa.string()),  # COCO's compressed run lengths; their size is the picture's height and width
    ]
)

FOUND: Final = pa.schema(
    [
        ("width", pa.int32()),  # upright; null where the picture could not be used
        ("height", pa.int32()),
        ("objects", pa.list_(OBJECT)),  # the highest score first
        ("best_below", pa.float64()),  # the best score that is not above the threshold
        ("notes", pa.list_(pa.string())),  # what its user should know although it worked
        ("error", pa.string()),  # why the picture could not be used; else null
    ]
)
"""What `sam3port.batch.Segmenter` adds about each picture."""

LISTED: Final = pa.schema(
    [
        ("image_id", pa.int64()),  # of its own for each picture of all runs into one folder, from 1
        ("picture", pa.string()),  # a file's path, or where it lies on an object store
        ("file_size", pa.int64()),  # bytes
        ("mtime_ns", pa.int64()),  # when it was changed last; null where nobody knows
    ]
)
"""What is known about a picture before it is read."""

RESULTS: Final = pa.schema([*LISTED, *FOUND])
"""A row of a shard of results: one picture."""

WORK: Final = pa.schema(
    [
        *LISTED,
        ("place", pa.string()),  # the URI whose file system the picture lies in; empty for paths
        ("path", pa.string()),  # within that file system
        ("problem", pa.string()),  # why there is no picture; else null
    ]
)
"""A picture that waits to be read; those that travel together will be a shard of results."""

READ: Final = pa.schema([*LISTED, ("content", pa.large_binary()), WORK.field("problem")])
"""A picture that was read and waits to be segmented."""

DONE: Final = pa.schema(
    [
        ("pictures", pa.int64()),
        ("objects", pa.int64()),
        ("failed", pa.list_(pa.string())),  # an error each
        ("noted", pa.int64()),  # pictures with notes
        ("problem", pa.string()),  # why the job cannot go on; else null
        ("remedy", pa.string()),
    ]
)
"""What became of a shard: one row."""
