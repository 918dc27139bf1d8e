"""``python -m tests.emulated FOLDER``: writes every interpreter of `tests.emulated.interpreters` to a folder."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.emulated.interpreters import CPUS, Unavailable, interpreter


def main(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    for name in CPUS:
        try:
            print(interpreter(name, folder.absolute()))
        except Unavailable as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1])))
