"""What a build is asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sam3port.artifact.interface import Capacity
from sam3port.compiler.stage import Stage
from sam3port.errors import UsageError
from sam3port.model.preset import Traits
from sam3port.tuning.record import TunedSchedule

if TYPE_CHECKING:
    from sam3port.components.component import Component
    from sam3port.model.preset import Preset
    from sam3port.targets.target import BuildTarget


TARGET_OPTIONS: Final = ("mcpu", "triple", "arch")
"""What can be asked of targets; each says which of them it has."""

_PATHS: Final = ("checkpoint", "base", "upstream")


@dataclass(frozen=True)
class BuildRequest:
    """Everything that decides what comes out. Travels to the worker processes as JSON."""

    components: tuple[str, ...]
    preset: str = "tiny"
    resolution: int | None = None
    target: str = "cpu"
    dtype: str = "float32"
    target_options: Mapping[str, str] = field(default_factory=dict)
    """Of `TARGET_OPTIONS`, those that were given."""
    seed: int | None = 0
    checkpoint: Path | None = None
    base: Path | None = None
    """The checkpoint that gives what ``checkpoint`` has nothing of."""
    traits: Traits = field(default_factory=Traits)
    """What the model has, by its weights: `sam3port.build.fitting.fitted` finds it out."""
    capacity: Capacity = field(default_factory=Capacity)
    until: Stage = Stage.COMPILE
    upstream: Path | None = None
    disable: tuple[str, ...] = ()
    tuned: tuple[TunedSchedule, ...] = ()
    """Schedules that were measured, for targets that have a use for them. What databases hold is read by who asks for a
    build, with `sam3port.tuning.sources.usual_schedules`: a request itself reads nothing."""

    def as_json(self) -> dict[str, Any]:
        content = dataclasses.asdict(self)
        for name in _PATHS:
            content[name] = None if content[name] is None else str(content[name].absolute())
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> BuildRequest:
        values = dict(content)
        for name in _PATHS:
            values[name] = None if values[name] is None else Path(values[name])
        values["components"] = tuple(values["components"])
        values["disable"] = tuple(values["disable"])
        values["capacity"] = Capacity(**values["capacity"])
        values["traits"] = Traits(**values["traits"])
        values["until"] = Stage(values["until"])
        values["tuned"] = tuple(map(TunedSchedule.from_json, values["tuned"]))
        return cls(**values)

    def sizes(self) -> Preset:
        """The model's sizes.

        Raises:
            UsageError: preset or resolution are impossible.
        """
        from sam3port.model.preset import preset

        return preset(self.preset, self.resolution, self.traits)

    def component(self, name: str) -> Component:
        """The component of that name, with the capacity asked for.

        Raises:
            UsageError: there is none; it lists them.
        """
        return known_components(self.disable, (name,))[name](self.capacity)

    def build_target(self) -> BuildTarget:
        """The target.

        Raises:
            UsageError: there is none of that name, it does not compute in that type, or it has no such option.
        """
        from sam3port.plugins import load_plugins, switched_off

        targets = load_plugins(switched_off(self.disable)).targets()
        if self.target not in targets:
            raise UsageError(f"there is no target named {self.target}", f"the targets are {', '.join(targets)}")
        chosen = targets[self.target]
        if self.dtype not in chosen.dtypes:
            raise UsageError(
                f"the target {self.target} cannot compute in {self.dtype}", f"it can in {', '.join(chosen.dtypes)}"
            )
        if refused := [f"--{option}" for option in self.target_options if option not in chosen.options]:
            has = " and ".join(f"--{option}" for option in chosen.options)
            raise UsageError(
                f"the target {self.target} has no {' and no '.join(refused)}",
                f"it has {has}" if has else "leave it away",
            )
        made = chosen(self.dtype, self.target_options) if self.target_options else chosen(self.dtype)
        made.tuned = self.tuned
        return made

    def refuse_to_run_without_device(self) -> None:
        """Raises UsageError when this machine cannot run what is built for the target."""
        if missing := self.build_target().missing_to_run():
            raise UsageError(
                f"what is built for the target {self.target} cannot run here: it needs {' and '.join(missing)}",
                "`sam3port doctor` says which targets can; building needs no device",
            )


def known_components(disable: tuple[str, ...] = (), names: tuple[str, ...] = ()) -> dict[str, type[Component]]:
    """The registered components of these names, in this order; all of them if no name is given.

    Raises:
        UsageError: a name is unknown; it lists the known ones.
    """
    from sam3port.plugins import load_plugins, switched_off

    known = load_plugins(switched_off(disable)).components()
    if unknown := [name for name in names if name not in known]:
        raise UsageError(
            f"there is no component named {', '.join(unknown)}", f"the components are {', '.join(known) or '(none)'}"
        )
    return {name: known[name] for name in dict.fromkeys(names)} if names else dict(known)
