"""Pictures that end the process which looks at them: found, and left out, where Ray alone would try for ever.

How often a shard was begun lies beside the results until it is done. From the third time on its pictures are looked at
one by one, each noted before; the one at which the process ends twice is to blame.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import pyarrow as pa

from sam3port.batch.storage import Folder

TRIES: Final = "tries"
_TOGETHER: Final = 2
"""How often a shard is begun before its pictures are noted one by one."""
_BLAMED: Final = 2
BAD: Final = "the process ended each time while it was looked at; perhaps there is not enough memory"


def carefully(folder: Folder, name: str, batch: pa.Table, segment: Callable[[pa.Table], pa.Table]) -> pa.Table:
    """What ``segment`` makes of a batch, once the process lives through it.

    Args:
        folder: of the results.
        name: of the shard.
        batch: as `sam3port.batch.schema.READ`.
        segment: a `Segmenter`.

    Raises:
        OSError: what is noted cannot be written.
    """
    file = f"{TRIES}/{name}.json"
    noted: dict[str, Any] = json.loads(folder.read(file) or b'{"begun": 0, "at": null, "blamed": {}}')
    if (last := noted["at"]) is not None:
        noted["blamed"][last] = noted["blamed"].get(last, 0) + 1
    noted |= {"begun": noted["begun"] + 1, "at": None}
    folder.write(file, json.dumps(noted).encode())
    batch = _without_bad(batch, noted["blamed"])
    if noted["begun"] <= _TOGETHER:
        results = segment(batch)
    else:
        rows = []
        for index, number in enumerate(batch["image_id"].to_pylist()):
            folder.write(file, json.dumps(noted | {"at": str(number)}).encode())
            rows.append(segment(batch.slice(index, 1)))
        results = pa.concat_tables(rows)
    return results


def settled(folder: Folder, name: str) -> None:
    """Forgets what was noted about a shard that is written."""
    folder.remove(f"{TRIES}/{name}.json")


def _without_bad(batch: pa.Table, blamed: dict[str, int]) -> pa.Table:
    """The pictures that are to blame get a problem."""
    bad = {number for number, times in blamed.items() if times >= _BLAMED}
    if not bad:
        return batch
    rows = batch.select(["image_id", "picture", "problem"]).to_pylist()
    problems = [f"{row['picture']}: {BAD}" if str(row["image_id"]) in bad else row["problem"] for row in rows]
    place = batch.schema.get_field_index("problem")
    return batch.set_column(place, batch.schema.field(place), pa.array(problems, pa.string()))
