"""What the patches do, as a unified diff against pristine upstream."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from sam3port.patching.importer import Plan


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
    for module in chosen.edited_modules():
        file = chosen.file(module)
        source = chosen.pristine(module)
        before = source if source is not None else ""
        after = chosen.patched(module, before)
        path = file.relative_to(plan.upstream.root).as_posix() if file else module
        yield "".join(
            difflib.unified_diff(
                before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{path}", f"b/{path}"
            )
        )
