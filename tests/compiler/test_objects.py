"""Machine code of kernels: compiled once, found again, made again where it is damaged, the same in any order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax

from sam3port.cache.store import Store
from sam3port.compiler import objects
from sam3port.compiler.compile import Compiled, compile_kernels, compile_library
from sam3port.compiler.objects import Objects
from sam3port.compiler.outline import outline
from sam3port.compiler.stage import CALLS, KERNELS, LIBRARY
from sam3port.errors import Sam3PortError
from sam3port.kernels.common.naming import named_by_content
from sam3port.targets.cpu import CpuTarget
from tests.compiler.importing.functions import ROWS, expected, small

TARGET = CpuTarget("float32", {})
X = np.random.default_rng(0).standard_normal((ROWS, 4)).astype(np.float32)


def kernels() -> dict[str, Any]:
    return outline(named_by_content(small()), ["main"])[1]


def quiet(_done: int, _of: int) -> None:
    pass


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def files(store: Store) -> dict[str, int]:
    """When each object file was made."""
    return {file.parent.name: file.stat().st_mtime_ns for file in store.root.glob("kernel-*/kernel.o")}


def test_each_is_compiled_once(store: Store) -> None:
    reports: list[tuple[int, int]] = []
    made = Objects(TARGET, store).compile(kernels(), lambda done, of: reports.append((done, of)))
    assert reports == [(1, 3), (2, 3), (3, 3)]
    before = files(store)
    assert len(before) == 3
    assert Objects(TARGET, store).compile(kernels(), quiet) == made
    assert files(store) == before
    assert not list((store.root / ".writing").iterdir())


def test_another_cpu_has_code_of_its_own(store: Store) -> None:
    made = Objects(CpuTarget("float32", {"triple": "x86_64-linux-gnu"}), store).compile(kernels(), quiet)
    other = Objects(CpuTarget("float32", {"triple": "aarch64-linux-gnu"}), store).compile(kernels(), quiet)
    assert made.keys() == other.keys()
    assert all(made[name] != other[name] for name in made)
    assert len(files(store)) == 6


@pytest.mark.parametrize("harm", ["cut", "changed", "gone", "no digest"])
def test_what_is_damaged_is_made_again(store: Store, harm: str) -> None:
    made = Objects(TARGET, store).compile(kernels(), quiet)
    folder = min(store.root.glob("kernel-*"))
    file = folder / ("sha256" if harm == "no digest" else "kernel.o")
    content = file.read_bytes()
    file.unlink()
    if harm in {"cut", "changed"}:
        file.write_bytes(content[:-100] if harm == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    assert Objects(TARGET, store).compile(kernels(), quiet) == made
    assert (folder / "kernel.o").read_bytes() in made.values()


def test_the_library_is_the_same_from_either_end_and_from_the_store(tmp_path: Path) -> None:
    libraries = []
    for number, (place, backwards) in enumerate([("one", False), ("other", True), ("other", False)]):
        store = Store(tmp_path / place)
        Objects(TARGET, store).compile(kernels(), quiet, backwards=backwards)
        folder = tmp_path / str(number)
        folder.mkdir()
        compile_kernels(named_by_content(small()), TARGET, store, quiet, folder)
        compile_library(Compiled.read(folder), TARGET, folder)
        libraries.append([(folder / name).read_bytes() for name in (CALLS, KERNELS, LIBRARY)])
    assert libraries[0] == libraries[1] == libraries[2]


def test_it_computes_what_tvm_makes_of_the_whole_and_checks_what_comes_in(store: Store, tmp_path: Path) -> None:
    compile_library(compile_kernels(named_by_content(small()), TARGET, store, quiet, tmp_path), TARGET, tmp_path)
    library = tvm.runtime.load_module(str(tmp_path / LIBRARY))
    main = relax.VirtualMachine(library, tvm.cpu())["main"]
    for found, wanted in zip(main(tvm.runtime.tensor(X)), expected(X), strict=True):
        np.testing.assert_array_equal(found.numpy(), wanted)
    # Kernels do not look at their tensors: the function does.
    for wrong in (X[:2], X.astype(np.float64), X[None]):
        with pytest.raises((RuntimeError, TypeError, ValueError)):
            main(tvm.runtime.tensor(wrong.copy()))


def test_reshapes_that_are_views_are_not_compiled(store: Store, tmp_path: Path) -> None:
    compile_library(compile_kernels(named_by_content(small()), TARGET, store, quiet, tmp_path), TARGET, tmp_path)
    content = (tmp_path / LIBRARY).read_bytes()
    assert b"__tvm_ffi_scaled" in content
    assert b"__tvm_ffi_reshape" not in content


def test_a_damaged_file_of_objects_is_refused(tmp_path: Path) -> None:
    file = tmp_path / KERNELS
    objects.write(file, {"one": b"x" * 1000, "two": b"y" * 1000})
    assert objects.read(file) == {"one": b"x" * 1000, "two": b"y" * 1000}
    content = file.read_bytes()
    for damaged in (content[:700], b"no archive", None):
        file.unlink()
        if damaged is not None:
            file.write_bytes(damaged)
        with pytest.raises(Sam3PortError, match=r"kernels\.tar cannot be read"):
            objects.read(file)
