"""The CPU's instructions by LLVM's names."""

from __future__ import annotations

import functools
import platform
import re
import subprocess
import sys

import pytest

from sam3port.machine.features import ARM, X86, missing_features, of_hwcap, of_linux_flags, relevant

HERE = ARM if platform.machine() in {"aarch64", "arm64"} else X86


def processors(triple: str) -> list[str]:
    from tvm.target import Target, codegen

    return [str(cpu) for cpu in codegen.llvm_get_cpu_archlist(Target({"kind": "llvm", "mtriple": triple}))]


@functools.cache
def features(triple: str) -> set[str]:
    """Of all CPUs that LLVM knows for a triple."""
    from tvm.target import Target, codegen

    targets = (Target({"kind": "llvm", "mtriple": triple, "mcpu": cpu}) for cpu in processors(triple))
    return {str(name) for target in targets for name in codegen.llvm_get_cpu_features(target)}


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
    from tvm.target import codegen

    from sam3port.targets.host import host_target

    target = host_target()
    needed = relevant(map(str, codegen.llvm_get_cpu_features(target)), platform.machine())
    assert len(needed) > 5
    assert missing_features(needed) == []


def test_tunings_and_what_systems_hide_are_not_required() -> None:
    assert relevant(["fast-lzcnt", "avx2", "mwaitx", "rdrnd", "fma", "64bit"], "x86_64") == ["avx2", "fma"]
    assert relevant(["neon", "fuse-aes", "el3", "dotprod"], "arm64") == ["dotprod", "neon"]


def test_linux_names_are_translated() -> None:
    old = of_linux_flags(
        ["fpu", "cx8", "cmov", "mmx", "fxsr", "sse", "sse2", "pni", "ssse3", "cx16", "sse4_1", "sse4_2", "popcnt"],
        "x86_64",
    )
    assert old >= {"sse3", "sse4.1", "sse4.2", "ssse3", "popcnt", "cx16"}
    assert old.isdisjoint({"avx", "avx2", "fma", "lzcnt", "bmi"})
    newer = of_linux_flags(["avx512f", "avx512_bf16", "avx512_vnni", "abm", "bmi1", "avx_vnni"], "x86_64")
    assert newer == {"avx512f", "avx512bf16", "avx512vnni", "lzcnt", "bmi", "avxvnni"}
    arm = of_linux_flags(["fp", "asimd", "asimddp", "atomics", "i8mm"], "aarch64")
    assert arm == {"fp-armv8", "neon", "dotprod", "lse", "i8mm"}


def test_the_auxiliary_vector_says_the_same_as_the_kernels_list() -> None:
    """Bits of the Linux kernel's uapi/asm/hwcap.h, of a Neoverse V1."""
    hwcap = sum(1 << number for number in (0, 1, 3, 6, 7, 8, 10, 12, 13, 14, 15, 17, 19, 20, 22, 23, 25, 26, 27))
    hwcap2 = sum(1 << number for number in (13, 14))
    flags = (
        "fp asimd aes sha2 crc32 atomics asimdhp asimdrdm jscvt fcma lrcpc sha3 sm4 asimddp sve asimdfhm uscat"
        " ilrcpc flagm i8mm bf16"
    )
    assert of_hwcap(hwcap, hwcap2) == of_linux_flags(flags.split(), "aarch64")
    assert {"neon", "dotprod", "sve", "bf16", "i8mm"} <= of_hwcap(hwcap, hwcap2)


def test_names_are_llvms() -> None:
    """Each name must occur in LLVM's own lists: a misspelt one would never be required."""
    assert set(X86) - features("x86_64-linux-gnu") == set()
    assert set(ARM) - features("aarch64-linux-gnu") == set()


def test_whatever_a_name_implies_is_known_or_nothing_that_code_uses() -> None:
    """A feature that LLVM's name of a CPU brings along, that is not looked for, and that LLVM would use, is a SIGILL
    where a hypervisor hides it. So each is one of ours, or a tuning, or for operating systems and those that name it.
    """
    tunings = (
        *(
            "fast-",
            "slow-",
            "false-deps-",
            "prefer-",
            "fuse-",
            "use-",
            "no-",
            "idiv",
            "lea-",
            "tuning-",
            "zcz-",
            "zcm-",
        ),
        *("allow-", "branch", "macro", "pad-", "sbb-", "faster-", "vzeroupper", "predictable-", "disable-", "enable-"),
        *("alu-", "addr-", "aggressive-", "alternate-", "arith-", "avoid-", "balance-", "cmp-", "exynos-", "force-"),
        *("ldp-", "stp-", "max-", "store-", "strict-", "64bit", "v8", "v9", "prefetchi"),
    )
    systems_x86 = (
        *("clflushopt", "clwb", "clzero", "cldemote", "enqcmd", "fsgsbase", "fsrm", "ermsb", "hreset", "invpcid"),
        *("kl", "widekl", "lwp", "movdir64b", "movdiri", "movrs", "mwaitx", "nopl", "pconfig", "pku", "ptwrite"),
        *("rdpid", "rdpru", "rdrnd", "rdseed", "serialize", "shstk", "tsxldtrk", "uintr", "usermsr", "waitpkg"),
        *("wbnoinvd", "x87", "xsave", "xsavec", "xsaveopt", "xsaves", "crc32"),
        *("amx-avx512", "amx-fp8", "amx-movrs", "amx-tf32"),
    )
    # What only whoever says it by name gets, or what only the system may use.
    systems_arm = (
        *(
            "CONTEXTIDREL2",
            "am",
            "amvs",
            "brbe",
            "bti",
            "ccdp",
            "ccidx",
            "ccpp",
            "chk",
            "clrbhb",
            "dit",
            "ecv",
            "el2vmsa",
        ),
        *(
            "el3",
            "ete",
            "fgt",
            "hcx",
            "lor",
            "ls64",
            "mec",
            "mpam",
            "mte",
            "nmi",
            "nv",
            "pan",
            "pan-rwv",
            "pauth",
            "fpac",
        ),
        *(
            "perfmon",
            "predres",
            "rand",
            "ras",
            "rme",
            "sb",
            "sel2",
            "spe",
            "spe-eef",
            "specres2",
            "specrestrict",
            "ssbs",
        ),
        *("tlb-rmi", "tracev8.4", "trbe", "vh", "wfxt", "xs", "uaops"),
        # Streaming mode and 8-bit floats: LLVM makes none of these unless a function asks for them.
        *("fp8", "fp8dot2", "fp8dot4", "fp8fma", "sme-b16b16", "sme-f16f16", "sme-f64f64", "sme-i16i64", "sme2p1"),
    )
    # LLVM's lists hold its CPUs themselves, too ("a72", "neoversen1").
    cpus = {re.sub(r"[-]|cortex", "", name) for name in processors("aarch64-linux-gnu")} | {
        *("a520ae", "a720ae", "exynosm3", "falkor", "kryo", "saphira", "thunderx", "thunderxt81", "thunderxt83"),
        *("applea7", "neoverse512tvb", "neoversev3AE", "tsv110", "oryon1", "c1nano", "a78ae", "cortexr82ae"),
    }
    for triple, known, systems in (
        ("x86_64-linux-gnu", X86, set(systems_x86)),
        ("aarch64-linux-gnu", ARM, set(systems_arm)),
    ):
        unclassified = {
            name
            for name in features(triple) - set(known) - systems
            if not name.startswith(tunings) and re.sub(r"[-]|cortex", "", name) not in cpus
        }
        assert unclassified == set(), triple


def test_it_is_asked_without_anything_heavy() -> None:
    code = "import sys, sam3port.machine.features; print(sorted({'tvm', 'torch', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
