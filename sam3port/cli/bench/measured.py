"""A command of sam3port in a process of its own, which says in the end what it took.

Executed as ``python -m sam3port.cli.bench.measured FILE WORD...``: the words are the command's; ``load ARTIFACT`` opens
an artifact and asks nothing.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from sam3port.bench.child import peak


def main() -> None:
    file, *words = sys.argv[1:]
    if words[0] == "load":
        import sam3port

        sam3port.load(words[1])
        status = 0
    else:
        from sam3port.cli.main import main as program

        try:
            program(words)
            status = 0
        except SystemExit as ended:
            status = int(ended.code or 0)
    Path(file).write_text(json.dumps({"cpu_s": time.process_time(), "peak_bytes": peak()}), encoding="utf-8")
    sys.exit(status)


if __name__ == "__main__":
    main()
