"""What this machine can build and run, asked in a process of its own: TVM may be broken, or end the process."""

from __future__ import annotations

import json


def main() -> None:
    """Prints a JSON array as the last line: of each target its name and what is missing ``to_build`` and ``to_run``."""
    from sam3port.plugins import load_plugins
    from sam3port.runtime.tvm_import import import_tvm

    tvm = import_tvm()

    found = []
    for name, target in load_plugins().targets().items():
        made = target()
        to_build = made.missing_to_build()
        if tvm.get_global_func(f"target.build.{_generator(made.device)}", allow_missing=True) is None:
            to_build = [f"a TVM that generates code for {name}", *to_build]
        found.append({"target": name, "to_build": to_build, "to_run": made.missing_to_run()})
    print(json.dumps(found))


def _generator(device: str) -> str:
    return "llvm" if device == "cpu" else device


if __name__ == "__main__":
    main()
