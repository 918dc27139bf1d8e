"""``python -m sam3port``, which does what the program ``sam3port`` does."""

from __future__ import annotations

import os
import sys


def _leave_the_working_folder() -> None:
    """Takes the working folder from the path, where ``python -m`` puts it and the program ``sam3port`` has none.

    A ``numpy.py`` that lies there is not meant, and neither is a checkout of sam3port that is not what is installed.
    """
    try:
        here = os.getcwd()  # noqa: PTH109 (pathlib is not imported yet, and should not come from here)
    except OSError:
        return  # the folder was removed
    if sys.flags.safe_path or sys.path[0] != here:
        return
    del sys.path[0]
    if os.path.dirname(os.path.dirname(__file__)) == here:  # noqa: PTH120
        for name in [name for name in sys.modules if name == "sam3port" or name.startswith("sam3port.")]:
            del sys.modules[name]


if __name__ == "__main__":
    _leave_the_working_folder()
    try:
        from sam3port.cli.main import main
    except ModuleNotFoundError as error:
        if error.name != "sam3port":
            raise
        sys.exit(f"sam3port: it is not installed in this Python ({sys.executable})\n  -> pip install -e .")
    main()
