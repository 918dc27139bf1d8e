"""Register tiles fit the registers, and waste little."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tvm.target import Target

from sam3port.kernels.cpu.formats.cpu import Cpu, cpu_of
from sam3port.kernels.cpu.formats.float32 import FLOAT32
from sam3port.kernels.cpu.formats.format import Arithmetic
from sam3port.kernels.cpu.scheduling.schedules import own_linear_schedule
from sam3port.kernels.cpu.scheduling.tiles import tile_size, tile_size_of_few_rows

X86 = "x86_64-unknown-linux-gnu"


@pytest.mark.parametrize(("rows", "columns", "tile"), [(32, 4096, (8, 3)), (6, 1024, (6, 4)), (2, 64, (2, 4))])
def test_few_rows_are_divided_evenly(rows: int, columns: int, tile: tuple[int, int]) -> None:
    """32 rows are six strips of 6, with four rows for nothing, or four of 8."""
    found = tile_size_of_few_rows(Cpu(lanes=16, registers=32, cores=2), rows, columns)
    assert found == tile


@given(rows=st.integers(1, 64), columns=st.integers(1, 300), registers=st.sampled_from([16, 32]))
def test_tiles_of_few_rows_fit_into_registers(rows: int, columns: int, registers: int) -> None:
    cpu = Cpu(lanes=8, registers=registers, cores=2)
    assert own_linear_schedule(rows, columns, 64, Arithmetic(cpu, FLOAT32)).problem(cpu) is None


@pytest.mark.parametrize("mcpu", ["x86-64-v4", "x86-64-v3", "x86-64"])
@pytest.mark.parametrize("rows", [1, 5, 6, 7, 200, None])
@pytest.mark.parametrize("columns", [1, 4, 16, 80, 1024, None])
def test_a_tile_fits_into_the_registers(mcpu: str, rows: int | None, columns: int | None) -> None:
    cpu = cpu_of(Target({"kind": "llvm", "mtriple": X86, "mcpu": mcpu}))
    tile = tile_size(cpu, rows, columns)
    assert tile.rows * tile.vectors + tile.vectors + 1 <= cpu.registers
    assert rows is None or tile.rows <= rows
    assert tile.vectors == tile_size(cpu, None, columns).vectors, "the columns may not depend on the rows"
