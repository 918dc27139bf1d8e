"""Our own conversions of ATen operators to Relax, one file each, delivered through the hook ``sam3port_converters``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sam3port.hookspecs import hookimpl

if TYPE_CHECKING:
    from sam3port.port.converter import Converter


@hookimpl
def sam3port_converters() -> list[Converter]:
    from sam3port.port.converters import (
        cat,
        div_mode,
        embedding,
        grid_sampler_2d,
        linear,
        matmul,
        scaled_dot_product_attention,
        select_int,
    )

    modules = (cat, div_mode, embedding, grid_sampler_2d, linear, matmul, scaled_dot_product_attention, select_int)
    return [module.CONVERTER for module in modules]
