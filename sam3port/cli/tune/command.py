"""``sam3port tune``: measures schedules of the kernels, here or on other machines."""

from __future__ import annotations

import json as json_format
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sam3port.cli.options import disable_option, given, needs, target_options, upstream_option
from sam3port.errors import UsageError

if TYPE_CHECKING:
    from sam3port.build.request import BuildRequest
    from sam3port.tuning.components import Work
    from sam3port.tuning.database import Database
    from sam3port.tuning.devices import Devices
    from sam3port.tuning.record import Record


@click.command("tune")
@click.argument("components", nargs=-1, metavar="[COMPONENT]...")
@click.option("--preset", default="tiny", show_default=True, metavar="NAME", help="Sizes of the model: tiny or full.")
@click.option("--resolution", type=int, metavar="N", help="Side of the image in pixels, instead of the preset's.")
@click.option("--target", default="cpu", show_default=True, metavar="NAME", help="What to tune for: cpu.")
@click.option("--dtype", default="float32", show_default=True, metavar="TYPE", help="What to compute in.")
@target_options
@click.option(
    "--trials", type=click.IntRange(min=1), default=24, show_default=True, help="Schedules to try for each workload."
)
@click.option(
    "--workloads", type=click.IntRange(min=1), metavar="N", help="Only the N that compute most (default: all of them)."
)
@click.option(
    "--database",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where to add what was measured (default: tuning.jsonl in the user's cache).",
)
@click.option(
    "--rpc", nargs=2, metavar="HOST:PORT KEY", help="Measure on the devices of that key behind TVM's RPC tracker."
)
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="To compute with (default: every usable CPU).")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Decides what is tried.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output instead of a table.")
@click.option(
    "--report", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Write TUNING.md there."
)
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Processes that build (default: at most 2).")
@upstream_option
@disable_option
@needs("tune")
def tune(
    components: tuple[str, ...],
    mcpu: str | None,
    triple: str | None,
    arch: str | None,
    trials: int,
    workloads: int | None,
    database: Path | None,
    rpc: tuple[str, str] | None,
    threads: int | None,
    seed: int,
    as_json: bool,
    report: Path | None,
    jobs: int | None,
    **options: Any,
) -> int:
    """Measure schedules for the kernels of the COMPONENTs (all of them by default), and keep the best.

    `sam3port build` uses what lies in the user's cache; another --database is given to it with --tuned. Nothing is
    measured twice. Ctrl-C keeps what was measured. Leave the machine idle meanwhile.
    """
    from sam3port.build.request import BuildRequest, known_components
    from sam3port.cli.tune.report import content, print_table, write_report
    from sam3port.tuning.database import Database
    from sam3port.tuning.devices import find_devices
    from sam3port.tuning.sources import user_database

    names = tuple(known_components(options["disable"], components))
    chosen = given(mcpu=mcpu, triple=triple, arch=arch)
    request = BuildRequest(components=names, target_options=chosen, **options)
    _refuse(request, rpc is not None)
    devices = find_devices(*rpc) if rpc else None
    kept = Database(database or user_database())
    kept.check_writable()
    known = kept.records()
    done: list[tuple[Work, Record]] = []
    interrupted = False
    with tempfile.TemporaryDirectory(prefix="sam3port-tune-") as folder:
        works = _works(request, Path(folder), jobs)[:workloads]
        try:
            _search(request, works, kept, known, devices, threads, trials, seed, jobs or 2, Path(folder), done)
        except KeyboardInterrupt:
            interrupted = True
    if as_json:
        click.echo(json_format.dumps(content(done, kept.file, interrupted=interrupted)))
    elif done:
        print_table(done)
    if report is not None and done:
        written = write_report(
            done, report, _command(components, chosen, trials, workloads, threads, rpc, seed, options)
        )
        click.echo(f"wrote {written}", err=True)
    click.echo(f"kept in {kept.file}", err=True)
    if interrupted:
        raise KeyboardInterrupt
    return 0


def _command(
    components: tuple[str, ...],
    chosen: dict[str, str],
    trials: int,
    workloads: int | None,
    threads: int | None,
    rpc: tuple[str, str] | None,
    seed: int,
    options: dict[str, Any],
) -> str:
    """What measures the same. Where it was kept makes no difference, and names folders of the user's."""
    words = ["sam3port", "tune", *components, "--preset", options["preset"]]
    words += ["--resolution", str(options["resolution"])] if options["resolution"] else []
    words += ["--dtype", options["dtype"]] if options["dtype"] != "float32" else []
    words += [word for name, value in chosen.items() for word in (f"--{name}", value)]
    words += ["--trials", str(trials), *(["--workloads", str(workloads)] if workloads else [])]
    words += ["--rpc", *rpc] if rpc else []
    words += ["--threads", str(threads)] if threads else []
    words += ["--seed", str(seed)] if seed else []
    return shlex.join(words + [word for name in options["disable"] for word in ("--disable", name)])


def _refuse(request: BuildRequest, remote: bool) -> None:
    """What cannot be tuned."""
    if request.target != "cpu":
        request.build_target()  # there may be none of that name
        raise UsageError(f"the kernels of the target {request.target} have nothing to tune", "--target cpu has")
    request.sizes()
    request.build_target().check()
    if not remote:
        request.refuse_to_run_without_device()


def _works(request: BuildRequest, folder: Path, jobs: int | None) -> list[Work]:
    """What the components compute; the cache keeps what that takes."""
    from dataclasses import replace

    from sam3port.build.components import build, default_store
    from sam3port.cli.build.progress import show
    from sam3port.compiler.ir import load
    from sam3port.compiler.stage import RELAX, Stage
    from sam3port.tuning.components import find_work

    request = replace(request, until=Stage.IMPORT)
    with show(request) as progress:
        folders = build(request, folder / "components", progress, store=default_store(), jobs=jobs)
    programs = {name: load(folder / RELAX) for name, folder in folders.items()}
    return find_work(programs, request.build_target().target(), request.dtype)


def _search(
    request: BuildRequest,
    works: list[Work],
    kept: Database,
    known: list[Record],
    devices: Devices | None,
    threads: int | None,
    trials: int,
    seed: int,
    jobs: int,
    folder: Path,
    done: list[tuple[Work, Record]],
) -> None:
    import importlib.metadata

    from sam3port.build.keys import kernels_identity
    from sam3port.cli.tune.progress import show
    from sam3port.kernels.cpu.formats.cpu import cpu_of
    from sam3port.machine.cpus import configure_threads
    from sam3port.tuning.measure import Meter
    from sam3port.tuning.record import Machine
    from sam3port.tuning.search import Search, plan

    target = request.build_target().target()
    cpu, machine = cpu_of(target), Machine.of(target)
    about = {"tvm": importlib.metadata.version("apache-tvm"), "kernels": kernels_identity()[:12]}
    if devices is None:
        about["threads"] = str(configure_threads(threads))
    meter = Meter(target, cpu, folder, devices, jobs)
    search = Search(meter, cpu, machine, about, known, kept.add)
    plans = [plan(work.workload, cpu, trials, seed) for work in works]
    with show(machine, devices, sum(len(search.missing(each)) for each in plans)) as progress:
        for work, each in zip(works, plans, strict=True):
            progress.begin(each.workload.key)
            record = search.run(each, progress.measured)
            progress.decided(record)
            done.append((work, record))
