"""One run of the built components, in a fresh interpreter: ``python -m sam3port.verify.run_tvm REQUEST.json``."""

from __future__ import annotations

from pathlib import Path

from sam3port.verify.child import Compute, Computing


def main() -> None:
    """Computes what the request names (see `sam3port.verify.runs`)."""
    from sam3port.build.runner import Compiled

    child = Computing()

    def ready(name: str) -> Compute:
        return Compiled(Path(child.request["built"], name)).run

    child.compute(ready)


if __name__ == "__main__":
    main()
