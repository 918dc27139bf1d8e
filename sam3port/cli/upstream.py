"""``sam3port upstream``: where upstream's source is, fetching it, and the proof that it is the pinned one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sam3port.cli.options import upstream_option

if TYPE_CHECKING:
    from sam3port.upstream.source import Upstream
    from sam3port.upstream.verify import Proof

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group("upstream")
def upstream() -> None:
    """The pinned source of sam3: where it is, fetching it, proving it."""


@upstream.command("status")
@upstream_option
@json_option
def status(upstream: Path | None, as_json: bool) -> None:
    """Say which source of sam3 would be used. Fetches nothing; exit status 0 also when there is none."""
    from sam3port.upstream.source import UpstreamAbsent, locate
    from sam3port.upstream.verify import verify

    try:
        found = locate(upstream)
    except UpstreamAbsent as absent:
        if as_json:
            _print_json({"present": False, "pin": _pin()})
        else:
            click.echo(f"{absent.problem}\n  -> {absent.remedy}")
        return
    proof = verify(found)
    _warn_if_not_pinned(found)
    if as_json:
        _print_json(_as_json(proof))
    else:
        _print_proof(proof)


@upstream.command("fetch")
@upstream_option
def fetch(upstream: Path | None) -> None:
    """Fetch sam3 at the pinned commit if it is not here, and replace a damaged copy in the cache.

    In a checkout of sam3port with git, as the submodule external/sam3; else, or without GitHub, from the package
    index into the user's cache. Nothing is installed.
    """
    from sam3port.upstream import registry
    from sam3port.upstream.source import Origin, ensure
    from sam3port.upstream.verify import verify

    report = _report_to_stderr()
    found = ensure(upstream, report=report)
    if found.origin is Origin.CACHE:
        registry.fetch(report)
    verify(found).require()
    _warn_if_not_pinned(found)
    click.echo(found.describe())


@upstream.command("verify")
@upstream_option
@json_option
@click.option("--no-cache", is_flag=True, help="Read every file, also those that were right before.")
def verify_command(upstream: Path | None, as_json: bool, no_cache: bool) -> int:
    """Compare every file that the port can load with the pin.

    Exit status 1, and the files by name, if one is changed, missing or extra. A checkout of yours at another commit is
    allowed: that is said, and the files that differ are listed.
    """
    from sam3port.upstream.source import locate
    from sam3port.upstream.verify import verify

    found = locate(upstream)
    proof = verify(found, cache=not no_cache)
    _warn_if_not_pinned(found)
    if as_json:
        _print_json(_as_json(proof))
        return 0 if proof.ok else 1
    proof.require()
    _print_proof(proof)
    return 0


def _pin() -> dict[str, str]:
    from sam3port.upstream import pin

    return {"commit": pin.COMMIT, "repository": pin.REPOSITORY_URL}


def _as_json(proof: Proof) -> dict[str, Any]:
    found = proof.upstream
    return {
        "present": True,
        "pin": _pin(),
        "root": str(found.root),
        "origin": found.origin.value,
        "commit": found.commit,
        "pinned": found.pinned,
        "ok": proof.ok,
        "changed": list(proof.changed),
        "missing": list(proof.missing),
        "extra": list(proof.extra),
    }


def _print_json(content: dict[str, Any]) -> None:
    click.echo(json.dumps(content, indent=2))


def _print_proof(proof: Proof) -> None:
    from rich.console import Console
    from rich.text import Text

    from sam3port.upstream import manifest, pin

    found = proof.upstream
    if proof.identical:
        verdict = Text(f"all {len(manifest.blobs())} files are as pinned", style="green")
    elif proof.ok:
        verdict = Text("differs from the pin, which is allowed for another commit of yours", style="yellow")
    else:
        verdict = Text(f"not as pinned\n-> {found.remedy}", style="bold red")
    rows: dict[str, str | Text] = {
        "pin": f"{pin.COMMIT} of {pin.REPOSITORY_URL}",
        "source": f"{found.root} ({found.origin.value})",
        "commit": found.commit,
        "proof": verdict,
    }
    rows |= {kind: "\n".join(names) for kind, names in proof.by_kind().items() if names}
    console = Console(soft_wrap=True)  # paths stay whole, for whoever copies or greps them
    for label, value in rows.items():
        for number, line in enumerate((value if isinstance(value, Text) else Text(value)).split("\n")):
            console.print(Text(f"{'' if number else label:8}").append_text(line))


def _warn_if_not_pinned(found: Upstream) -> None:
    if not found.pinned:
        from rich.console import Console
        from rich.text import Text

        Console(stderr=True, soft_wrap=True).print(Text(f"note: {found.describe()}", style="yellow"))


def _report_to_stderr() -> Callable[[str], None]:
    def report(line: str) -> None:
        click.echo(line, err=True)

    return report
