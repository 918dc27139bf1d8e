"""``sam3port components``: lists the components, describes one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sam3port.cli.options import disable_option, upstream_option

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

    from sam3port.artifact.interface import TensorSpec
    from sam3port.components.component import Component
    from sam3port.inspect.describe import Description
    from sam3port.model.preset import Preset


@click.command("components")
@click.argument("name", required=False)
@click.option("--preset", "preset_name", default="tiny", show_default=True, metavar="NAME", help="tiny or full.")
@click.option("--resolution", type=int, metavar="N", help="Side of the image in pixels, instead of the preset's.")
@upstream_option
@disable_option
def components(
    name: str | None, preset_name: str, resolution: int | None, upstream: Path | None, disable: tuple[str, ...]
) -> None:
    """List the components, or describe the component NAME: inputs, outputs, operators, work, parameters."""
    from sam3port.build.request import known_components
    from sam3port.machine.packages import BUILD, require

    if name is None:
        _list(known_components(disable).values())
        return
    chosen = known_components(disable, (name,))[name]()
    from sam3port.model.preset import preset

    sizes = preset(preset_name, resolution)
    require(BUILD, f"sam3port components {name}")
    _print_declaration(chosen, sizes)
    _print_description(_described(chosen, sizes, upstream, disable))


def _list(known: Iterable[type[Component]]) -> None:
    from rich.table import Table

    from sam3port.cli.console import output

    table = Table()
    for column in ("component", "upstream", "what it does"):
        table.add_column(column, no_wrap=column == "component")
    for component in known:
        table.add_row(component.name, component.upstream, component.summary)
    output().print(table)


def _print_declaration(component: Component, sizes: Preset) -> None:
    from rich.text import Text

    from sam3port.cli.console import output

    console = output()
    console.print(Text(f"{component.name}, {sizes.name} at {sizes.image_size} pixels", style="bold"))
    console.print(Text(f"  {component.summary}; {component.upstream}"))
    capacity = component.capacity
    console.print(
        Text(f"  built for at most {capacity.points} points, {capacity.boxes} boxes, {capacity.prompts} prompts")
    )
    console.print(_tensors("inputs", component.inputs(sizes)))
    console.print(_tensors("outputs", component.outputs(sizes)))


def _tensors(title: str, specs: Iterable[TensorSpec]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left")
    for column in ("name", "dtype", "shape", "meaning"):
        table.add_column(column, no_wrap=column != "meaning")
    for spec in specs:
        table.add_row(Text(spec.name), spec.dtype, " x ".join(map(str, spec.shape)) or "scalar", Text(spec.meaning))
    return table


def _described(component: Component, sizes: Preset, upstream: Path | None, disable: tuple[str, ...]) -> Description:
    from sam3port.cli.console import messages
    from sam3port.inspect.describe import describe
    from sam3port.model.build import construct
    from sam3port.patching.install import install
    from sam3port.plugins import load_plugins, switched_off
    from sam3port.upstream.source import ensure

    with messages().status(f"building the model {sizes.name}") as status:
        ensure(upstream)
        install(upstream, disable=disable)
        model = construct(sizes)  # what its weights are does not matter here
        status.update(f"exporting {component.name}")
        return describe(component, model, sizes, load_plugins(switched_off(disable)).converters())


def _print_description(found: Description) -> None:
    from rich.table import Table

    from sam3port.cli.console import output

    console = output()
    console.print(f"graph       {found.nodes} operators", highlight=False)
    console.print(f"work        {found.flops / 1e9:.4g} GFLOP (products, attention, convolutions)", highlight=False)
    size = f"{found.parameters:,} numbers, {found.parameter_bytes / 2**20:.1f} MiB"
    console.print(f"parameters  {size}", highlight=False)
    table = Table(title="operators", title_justify="left")
    table.add_column("operator", no_wrap=True)
    table.add_column("calls", justify="right")
    for operator, count in sorted(found.operators.items(), key=lambda item: -item[1]):
        table.add_row(operator, str(count))
    console.print(table)
