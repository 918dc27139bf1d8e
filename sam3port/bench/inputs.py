"""The inputs of a contest, the same file for everybody."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def load(request: dict[str, Any]) -> dict[str, NDArray[np.generic]]:
    """The arrays by name, in the order of the component's inputs."""
    with np.load(request["inputs"]) as arrays:
        return {name: arrays[name] for name in arrays.files}
