"""What the patches do, as a unified diff against pristine upstream."""

from __future__ import annotations

import difflib
import io
from collections.abc import Iterator

from sam3port.patching.plan import Plan


def unified_diffs(plan: Plan, names: frozenset[str] | None = None) -> Iterator[str]:
    """The diff of each edited module, in the order of the modules' names; ``patch -p1`` accepts it.

    Args:
        plan: the upstream and the enabled patches.
        names: only these patches; None is all of them.

    Raises:
        PatchDrift: an edit does not match.
    """
    patches = tuple(patch for patch in plan.patches if names is None or patch.name in names)
    chosen = Plan(plan.upstream, patches)
    chosen.require()
    for module in chosen.edited_modules():
        file, before = chosen.file(module), chosen.pristine(module)
        assert file is not None and before is not None  # `require` has seen both
        path = file.relative_to(plan.upstream.root).as_posix()
        lines = difflib.unified_diff(_lines(before), _lines(chosen.patched(module, before)), f"a/{path}", f"b/{path}")
        yield "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _lines(text: str) -> list[str]:
    return list(io.StringIO(text))  # splitlines() would also break at form feeds
