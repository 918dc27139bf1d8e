"""The CPU's instructions by LLVM's names."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from sam3port.machine.features import ARM, X86, missing_features, present, relevant

HERE = ARM if platform.machine() in {"aarch64", "arm64"} else X86
LINUX = pytest.mark.skipif(platform.system() != "Linux", reason="reads /proc/cpuinfo")


def test_this_cpu_has_what_it_says() -> None:
    needed = ["neon"] if HERE is ARM else ["sse2", "cmov", "cx8"]
    assert missing_features(needed) == []


def test_what_no_cpu_has_is_missing_in_the_order_asked() -> None:
    assert missing_features(["no-such-thing", "another"]) == ["no-such-thing", "another"]


@LINUX
def test_it_agrees_with_numpy_which_asks_the_cpu_itself() -> None:
    from numpy._core._multiarray_umath import __cpu_features__ as numpys

    names = {"SSE42": "sse4.2", "POPCNT": "popcnt", "AVX": "avx", "F16C": "f16c", "FMA3": "fma", "AVX2": "avx2"}
    names |= {
        "AVX512F": "avx512f",
        "AVX512VNNI": "avx512vnni",
        "AVX512VBMI2": "avx512vbmi2",
        "AVX512_SPR": "avx512fp16",
    }
    names |= {"NEON": "neon", "ASIMDDP": "dotprod", "ASIMDHP": "fullfp16", "SVE": "sve"}
    asked = {ours: numpys[theirs] for theirs, ours in names.items() if theirs in numpys and ours in HERE}
    assert any(asked.values())
    assert missing_features(asked) == [name for name, there in asked.items() if not there]


@LINUX
def test_code_for_this_cpu_can_run_on_it() -> None:
    from tvm.target import Target, codegen

    target = Target({"kind": "llvm", "mcpu": codegen.llvm_get_system_cpu()})
    needed = relevant(map(str, codegen.llvm_get_cpu_features(target)), platform.machine())
    assert len(needed) > 5
    assert missing_features(needed) == []


def test_tunings_and_what_systems_hide_are_not_required() -> None:
    assert relevant(["fast-lzcnt", "avx2", "mwaitx", "rdrnd", "fma", "64bit"], "x86_64") == ["avx2", "fma"]
    assert relevant(["neon", "fuse-aes", "el3", "dotprod"], "arm64") == ["dotprod", "neon"]


def test_linux_names_are_translated() -> None:
    old = "fpu cx8 cmov mmx fxsr sse sse2 pni ssse3 cx16 sse4_1 sse4_2 popcnt"
    assert present(X86, old.split()) >= {"sse3", "sse4.1", "sse4.2", "ssse3", "popcnt", "cx16"}
    assert present(X86, old.split()).isdisjoint({"avx", "avx2", "fma", "lzcnt", "bmi"})
    newer = present(X86, ["avx512f", "avx512_bf16", "avx512_vnni", "abm", "bmi1", "avx_vnni"])
    assert newer == {"avx512f", "avx512bf16", "avx512vnni", "lzcnt", "bmi", "avxvnni"}
    assert present(ARM, ["fp", "asimd", "asimddp", "atomics", "i8mm"]) == {"fp-armv8", "neon", "dotprod", "lse", "i8mm"}


def test_names_are_llvms() -> None:
    """Each name must occur in LLVM's own lists: a misspelt one would never be required."""
    from tvm.target import Target, codegen

    def features(triple: str, *cpus: str) -> set[str]:
        targets = (Target({"kind": "llvm", "mtriple": triple, "mcpu": cpu}) for cpu in cpus)
        return {str(name) for target in targets for name in codegen.llvm_get_cpu_features(target)}

    chosen = ("znver5", "sapphirerapids", "sierraforest", "arrowlake-s", "bdver4", "tigerlake")
    x86 = features("x86_64-linux-gnu", *chosen)
    arm = features("aarch64-linux-gnu", "cortex-a710", "apple-m4", "neoverse-v2", "cortex-a78", "apple-m1")
    assert set(X86) - x86 == set()
    assert set(ARM) - arm == set()


def test_it_is_asked_without_anything_heavy() -> None:
    code = "import sys, sam3port.machine.features; print(sorted({'tvm', 'torch', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
