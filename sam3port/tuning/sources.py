"""Where schedules for a build come from: a file that is named, the user's database, and those that are shipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import sam3port
from sam3port.cache.places import cache_root
from sam3port.errors import UsageError
from sam3port.tuning.database import Database
from sam3port.tuning.record import Machine, TunedSchedule

if TYPE_CHECKING:
    from sam3port.kernels.cpu.workloads.tuned import TunedSchedules

SHIPPED: Final = Path(sam3port.__file__).parent / "kernels" / "cpu" / "workloads" / "records"
SHIPPED_LABEL: Final = "shipped"
USER_LABEL: Final = "your database"


def user_database() -> Path:
    """The database in the user's cache, where `sam3port tune` adds unless told otherwise."""
    return cache_root() / "tuning.jsonl"


def usual_schedules() -> tuple[TunedSchedule, ...]:
    """Of the user's database, then those that are shipped.

    Raises:
        UsageError: a database is damaged.
    """
    shipped = [each for file in sorted(SHIPPED.glob("*.jsonl")) for each in schedules_in(file, SHIPPED_LABEL)]
    return (*schedules_in(user_database(), USER_LABEL), *shipped)


def schedules_of(file: Path) -> tuple[TunedSchedule, ...]:
    """Of a file that the user names, and behind it the usual ones.

    Raises:
        UsageError: there is no such file, or it is damaged.
    """
    if not file.is_file():
        raise UsageError(f"there is no database {file}", "`sam3port tune --database FILE` makes one")
    return (*schedules_in(file, file.name), *usual_schedules())


def chosen_schedules(file: Path | None, untuned: bool) -> tuple[TunedSchedule, ...]:
    """What a user asks for: a file, none at all, or else the usual.

    Raises:
        UsageError: see `schedules_of`.
    """
    if untuned:
        return ()
    return usual_schedules() if file is None else schedules_of(file)


def described_schedules(schedules: Iterable[TunedSchedule]) -> str:
    """How many are in which database of the user's own; the shipped ones, which are always there, are no news."""
    counts = Counter(each.source for each in schedules if each.source != SHIPPED_LABEL)
    return ", ".join(f"{count} in {source}" for source, count in counts.items())


def schedules_in(file: Path, source: str) -> list[TunedSchedule]:
    """The outcomes in a database."""
    return [TunedSchedule(r.workload, r.machine, r.schedule, source, r.tuned) for r in Database(file).best()]


def fitting(schedules: Iterable[TunedSchedule], machine: Machine) -> dict[str, TunedSchedule]:
    """By workload, of those that serve a machine the first; those of its very CPU come before generic ones."""
    found: dict[str, TunedSchedule] = {}
    serving = [each for each in schedules if each.machine.serves(machine)]
    for each in sorted(serving, key=lambda each: each.machine.mcpu != machine.mcpu):
        found.setdefault(each.workload, each)
    return found


def for_kernels(fits: Mapping[str, TunedSchedule]) -> TunedSchedules:
    """As the kernels take them."""
    from sam3port.kernels.cpu.workloads.tuned import TunedSchedules

    return TunedSchedules({key: each.schedule for key, each in fits.items() if each.better})
