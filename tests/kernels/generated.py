"""Digests of all kernels that are generated for the components: what a change that should change nothing is held to.

``python -m tests.kernels.generated`` compares those of both presets with what is recorded in ``generated.json`` and
says which kernels differ; with ``--write`` it records them instead. Kernels are compared as they are before anything
fuses them, so that one digest is one kernel's own code.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

RECORD: Final = Path(__file__).with_suffix(".json")
PRESETS: Final = ("tiny", "full")
DTYPES: Final = ("float32", "bfloat16")
CPUS: Final[Mapping[str, Mapping[str, Any]]] = {
    "x86-64-v2": {"mcpu": "x86-64-v2", "mtriple": "x86_64-linux-gnu"},
    "x86-64-v3": {"mcpu": "x86-64-v3", "mtriple": "x86_64-linux-gnu"},
    "skylake-avx512": {"mcpu": "skylake-avx512", "mtriple": "x86_64-linux-gnu"},
    "znver4": {"mcpu": "znver4", "mtriple": "x86_64-linux-gnu"},
    "neoverse-v1": {"mcpu": "neoverse-v1", "mtriple": "aarch64-linux-gnu"},
}
"""4, 8 and 16 floats in a register, 16 and 32 registers, with and without products of bfloat16."""

Digests = dict[str, dict[str, list[str]]]
"""By ``cpu dtype``, then by component: names of kernels, each with a digest of its code, sorted."""


def versions() -> dict[str, str]:
    """Of what exports and represents programs: others may write the same program in another way."""
    return {name: importlib.metadata.version(name) for name in ("torch", "apache-tvm")}


EVERYWHERE: Final = tuple((cpu, dtype) for cpu in CPUS for dtype in DTYPES)


def generated(programs: Mapping[str, Path], where: Iterable[tuple[str, str]] = EVERYWHERE) -> Digests:
    """The kernels of components.

    Args:
        programs: by component, the file that the stage import left (``relax.json``).
        where: for which CPUs and types.
    """
    import tvm
    from tvm.target import Target

    from sam3port.compiler.ir import load
    from sam3port.kernels.cpu.dispatch import dispatch
    from sam3port.kernels.cpu.pipeline import tidied

    found: Digests = defaultdict(dict)
    for component, file in sorted(programs.items()):
        tidy = tvm.transform.Sequential(tidied())(load(file))
        for cpu, dtype in where:
            target = Target({"kind": "llvm", "num-cores": 2, **CPUS[cpu]})
            found[f"{cpu} {dtype}"][component] = sorted(_names(dispatch(target, dtype=dtype)(tidy)))
    return dict(found)


def _names(module: Any) -> Iterator[str]:
    from tvm import tirx

    from sam3port.kernels.common.naming import name_of

    for variable, function in module.functions_items():
        if isinstance(function, tirx.PrimFunc):
            yield name_of(str(variable.name_hint), function.without_attr("global_symbol"))


def differences(recorded: Digests, now: Digests) -> list[str]:
    """One line for each component on each CPU whose kernels are not those recorded."""
    lines = []
    for how, components in now.items():
        for component, names in components.items():
            before = recorded.get(how, {}).get(component, [])
            if names != before:
                gone, new = sorted(set(before) - set(names)), sorted(set(names) - set(before))
                lines.append(f"{how} {component}: {', '.join(gone) or 'nothing'} became {', '.join(new) or 'nothing'}")
    return lines


def recorded() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))
    return content


def expanded(packed: Mapping[str, Any]) -> Digests:
    """What `packed` made smaller: names are listed once."""
    return {
        how: {component: [packed["names"][index] for index in indices] for component, indices in components.items()}
        for how, components in packed["kernels"].items()
    }


def packed(digests: Digests) -> dict[str, Any]:
    names = sorted({name for components in digests.values() for each in components.values() for name in each})
    index = {name: position for position, name in enumerate(names)}
    kernels = {
        how: {component: [index[name] for name in each] for component, each in components.items()}
        for how, components in digests.items()
    }
    return {"names": names, "kernels": kernels}


def imported(preset: str, folder: Path) -> dict[str, Path]:
    """The components' programs as the stage import leaves them, by the command."""
    command = [sys.executable, "-m", "sam3port", "build", "--preset", preset, "--until", "import", "--out", str(folder)]
    subprocess.run([*command, *component_names()], check=True)
    return {name: folder / name / "relax.json" for name in component_names()}


def component_names() -> tuple[str, ...]:
    from sam3port.build.request import known_components

    return tuple(known_components())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="record what is generated now")
    parser.add_argument("presets", nargs="*", default=PRESETS, metavar="PRESET")
    given = parser.parse_args()
    kept = recorded() if RECORD.exists() else {"presets": {}}
    if not given.write and kept.get("versions") != versions():
        raise SystemExit(f"recorded with {kept.get('versions')}, here is {versions()}: record them anew by --write")
    failed = False
    for preset in given.presets:
        with tempfile.TemporaryDirectory() as folder:
            now = generated(imported(preset, Path(folder, "components")))
        if given.write:
            kept["presets"][preset] = packed(now)
        else:
            lines = differences(expanded(kept["presets"][preset]), now)
            print(f"{preset}: {len(lines)} differ" if lines else f"{preset}: every kernel is as recorded")
            print("\n".join(lines))
            failed = failed or bool(lines)
    if given.write:
        RECORD.write_text(json.dumps({"versions": versions(), **kept}) + "\n", encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
