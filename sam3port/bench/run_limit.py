"""The machine's limits, measured between turns: ``python -m sam3port.bench.run_limit REQUEST.json``."""

from __future__ import annotations

from typing import Any

from sam3port.bench.child import Opened, serve
from sam3port.bench.limit import limit_kernels
from sam3port.build.request import BuildRequest


def opened(request: dict[str, Any]) -> Opened:
    """A work for each measurement."""
    target = BuildRequest.from_json(request["build"]).build_target()
    kernels = limit_kernels(request["threads"], target.target() if target.device == "cpu" else None)
    return Opened(
        {name: kernel.run for name, kernel in kernels.items()},
        lambda _work, _result: {},
        {name: kernel.amount for name, kernel in kernels.items()},
    )


if __name__ == "__main__":
    serve(opened)
