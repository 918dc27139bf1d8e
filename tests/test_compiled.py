"""The memory of compiled modules: whatever decides about machine code decides about its name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.target import Target

from sam3port.kernels.cpu.codegen import emit
from tests import compiled as memory
from tests.compiled import VARIABLE, compiled, identity, library

PLAIN = Target("llvm")
COMPILE = tvm.compile
ADD_ONE = """
define linkonce_odr hidden float @own(float %x) alwaysinline {{
  %y = fadd float %x, {constant}
  ret float %y
}}
"""


def doubled(factor: float = 2.0, llvm: str = "1.0", attribute: str = "a") -> tvm.IRModule:
    def body(x: Any, out: Any) -> None:
        with emit.llvm_imported(ADD_ONE.format(constant=llvm)), emit.serial(8) as i:
            value = tvm.tirx.call_extern("float32", "own", x[i] * emit.constant(factor))
            emit.store(out, value, [i])

    function = emit.primfunc([("x", (8,)), ("out", (8,))], body)
    return tvm.IRModule({"kernel": function.with_attr({"global_symbol": "kernel", "said": attribute})})


def added(constant: float) -> tvm.IRModule:
    """A constant tensor, which a module of Relax holds."""
    x = relax.Var("x", relax.TensorType((4,), "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        value = builder.emit(relax.op.add(x, relax.const(np.full(4, constant, np.float32))))
        builder.emit_func_output(value)
    return builder.get()


def run(kernel: Any) -> list[float]:
    out = tvm.runtime.tensor(np.zeros(8, np.float32))
    kernel["kernel"](tvm.runtime.tensor(np.arange(8, dtype=np.float32)), out)
    return [float(value) for value in out.numpy()]


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A memory of its own."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(memory, "_ROOT", tmp_path)
    memory._store.cache_clear()
    yield tmp_path
    memory._store.cache_clear()


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    made: list[Any] = []

    def counted(*given: Any, **named: Any) -> Any:
        made.append(given)
        return COMPILE(*given, **named)

    monkeypatch.setattr(tvm, "compile", counted)
    return made


def test_the_second_is_loaded(compilations: list[Any]) -> None:
    right = [2.0 * value + 1 for value in range(8)]
    assert run(compiled(doubled(), PLAIN)) == right
    assert run(compiled(doubled(), "llvm")) == right
    assert len(compilations) == 1


def test_what_is_asked_for_fresh_is_compiled_and_not_kept(
    compilations: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = library(doubled(), PLAIN)
    monkeypatch.setenv(VARIABLE, "fresh")
    assert library(doubled(), PLAIN) != kept
    assert run(compiled(doubled(), PLAIN))[3] == 7
    assert len(compilations) == 3


def test_a_compilation_that_fails_leaves_no_entry(root: Path) -> None:
    with pytest.raises(tvm.error.InternalError):
        compiled(doubled(llvm="no number"), PLAIN)
    assert [entry.name for entry in root.iterdir()] == [".writing"]


@pytest.mark.parametrize(
    "other",
    [
        lambda: identity(doubled(factor=2.0000002), PLAIN),
        lambda: identity(doubled(llvm="2.0"), PLAIN),
        lambda: identity(doubled(attribute="b"), PLAIN),
        lambda: identity(doubled().with_attr("said", "b"), PLAIN),
        lambda: identity(doubled(), Target({"kind": "llvm", "mcpu": "x86-64-v3"})),
        lambda: identity(doubled(), Target({"kind": "llvm", "mattr": ["+avx2"]})),
        lambda: identity(tvm.IRModule({"other": doubled()["kernel"]}), PLAIN),
    ],
    ids=["factor", "LLVM", "attribute of a function", "of the module", "CPU", "features", "name"],
)
def test_what_makes_another_program(other: Any) -> None:
    assert other() != identity(doubled(), PLAIN)


def test_constants_and_settings_count() -> None:
    assert identity(added(1.0), PLAIN) == identity(added(1.0), PLAIN)
    assert identity(added(1.0), PLAIN) != identity(added(1.0000001), PLAIN)
    usual = identity(doubled(), PLAIN)
    for settings in ({"opt_level": 0}, {"config": {"tirx.disable_vectorize": True}}, {"disabled_pass": ["x"]}):
        with tvm.transform.PassContext(**settings):
            assert identity(doubled(), PLAIN) != usual


def test_a_module_of_relax_runs() -> None:
    machine = relax.VirtualMachine(compiled(added(1.5), PLAIN), tvm.cpu())
    assert list(machine["main"](tvm.runtime.tensor(np.zeros(4, np.float32))).numpy()) == [1.5] * 4
