"""A model whose every kernel has another schedule than the usual computes the same."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import tvm
from tvm import relax, tirx

from sam3port.compiler.ir import load
from sam3port.compiler.stage import RELAX
from sam3port.kernels.common.naming import name_of
from sam3port.kernels.cpu.pipeline import optimise, tunable
from sam3port.kernels.cpu.scheduling.schedules import Schedule
from sam3port.kernels.cpu.workloads.tuned import TUNED, TunedSchedules, schedule_of
from sam3port.kernels.cpu.workloads.workload import LinearWork, Workload
from tests.compiled import compiled
from tests.kernels.running import CPU, HOST

pytest.importorskip("torch")

from tests.kernels.cpu.test_pipeline import Block, compare, imported


def another(workload: Workload) -> Schedule:
    """One that differs from the default in as much as possible, the packed weight's layout included."""
    default, *others = workload.schedules(CPU)

    def differing(schedule: Schedule) -> int:
        usual = dataclasses.asdict(default)
        return sum(usual[name] != value for name, value in dataclasses.asdict(schedule).items())

    return max(others, key=differing)


@pytest.fixture(scope="module")
def block() -> Any:
    import torch

    torch.manual_seed(0)
    return Block().eval()


def attributes(module: Any, name: str) -> list[str]:
    functions = [f for _, f in module.functions_items() if isinstance(f, tirx.PrimFunc)]
    return [str(f.attrs[name]) for f in functions if f.attrs is not None and name in f.attrs]


@pytest.mark.parametrize("keep", [True, False], ids=["parameters", "constants"])
def test_every_kernel_with_another_schedule(block: Any, keep: bool) -> None:
    module = imported(block, decompose=False, keep=keep)
    parameters: list[Any] = []
    if keep:
        module, found = relax.frontend.detach_params(module)
    workloads = {workload.key: workload for workload, _ in tunable(module, HOST)}
    # With parameters there is no matmul: that of the attention which is spelled out is part of a kernel.
    product = "linear" if keep else "matmul"
    assert {key.split()[0] for key in workloads} == {product, "attention", "convolution", "transposed-convolution"}
    sizes = {key: dataclasses.asdict(another(workload)) for key, workload in workloads.items()}
    optimised = optimise(module, HOST, tuned=TunedSchedules(sizes))
    assert len(attributes(optimised, TUNED)) == len(workloads)
    assert sum(text.startswith("tuned: ") for text in attributes(optimised, "sam3port.schedule")) == len(workloads)
    machine = relax.VirtualMachine(compiled(optimised, HOST), tvm.cpu())
    if keep:
        parameters = list(machine["main_transform_params"](found["main"]))
    compare(machine, block, parameters)


def test_nothing_is_marked_without_records(block: Any) -> None:
    module, _ = relax.frontend.detach_params(imported(block, decompose=False, keep=True))
    assert attributes(optimise(module, HOST), TUNED) == []


@pytest.mark.parametrize(
    "sizes",
    [
        {"rows": 99, "vectors": 2, "unroll": 4, "block_rows": 96, "chunk": 128, "window": 32768},
        {"rows": 6, "vectors": 2},
        {"rows": 6, "vectors": 2, "value_vectors": 2, "unroll": 4, "block_queries": 96, "block_keys": 256},
    ],
)
def test_a_schedule_that_does_not_fit_is_not_used(sizes: dict[str, int]) -> None:
    work = LinearWork(30, 40, 50)
    assert TunedSchedules({work.key: sizes}).find(work, CPU) is None


def test_a_schedule_is_what_its_fields_say() -> None:
    schedule = LinearWork(30, 40, 50).default(CPU)
    assert schedule_of(dataclasses.asdict(schedule)) == schedule


def test_work_in_another_type_is_other_work(tiny_built: Path) -> None:
    """What is measured is what a build in that type makes: not the same kernels in float32."""
    module = load(tiny_built / "scoring_head" / RELAX)
    found = {dtype: [work for work, _ in tunable(module, HOST, dtype)] for dtype in ("float32", "bfloat16")}
    assert len(found["float32"]) == len(found["bfloat16"]) > 0
    assert not {work.key for work in found["float32"]} & {work.key for work in found["bfloat16"]}
    assert {work.key for work in found["float32"]} == {work.key_in_float32 for work in found["bfloat16"]}
    made = {f"{name}" for work in found["bfloat16"] for name in digests(work)}
    assert made and not made & {name for work in found["float32"] for name in digests(work)}
    tuned = TunedSchedules({work.key: dataclasses.asdict(another(work)) for work in found["bfloat16"]})
    optimised = optimise(module, HOST, tuned=tuned, dtype="bfloat16")
    assert set(attributes(optimised, TUNED)) == {work.key for work in found["bfloat16"]}


def digests(work: Workload) -> set[str]:
    """Of the kernel with the usual schedule, if it has products with a weight: attention rounds only on some CPUs."""
    if not isinstance(work, LinearWork):
        return set()
    return {name_of("kernel", work.function(CPU, work.default(CPU)).without_attr("global_symbol"))}


def test_records_of_float32_serve_where_there_are_none_of_the_type() -> None:
    exact, rounded = LinearWork(300, 40, 50), LinearWork(300, 40, 50, dtype="bfloat16")
    default = dataclasses.asdict(exact.default(CPU))
    other = {**default, "unroll": 2}
    assert TunedSchedules({exact.key: default}).find(rounded, CPU) == schedule_of(default)
    assert TunedSchedules({exact.key: default, rounded.key: other}).find(rounded, CPU) == schedule_of(other)
    assert TunedSchedules({rounded.key: other}).find(exact, CPU) is None
