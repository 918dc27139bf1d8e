"""The lab of the patching machinery, for stand-ins in a tiny upstream."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.patching.lab import Lab, make_lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return make_lab(tmp_path)
