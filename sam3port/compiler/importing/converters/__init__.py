"""Our own conversions of ATen operators to Relax, one file each, delivered through the hook ``sam3port_converters``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sam3port.hookspecs import hookimpl

if TYPE_CHECKING:
    from sam3port.compiler.importing.converter import Converter


@hookimpl
def sam3port_converters() -> list[Converter]:
    from sam3port.compiler.importing.converters import (
        cat,
        compare,
        div_mode,
        embedding,
        grid_sampler_2d,
        linear,
        matmul,
        pow_scalar,
        roi_align,
        scaled_dot_product_attention,
        select_int,
    )

    return [
        cat.CONVERTER,
        compare.EQUAL,
        compare.NOT_EQUAL,
        div_mode.CONVERTER,
        embedding.CONVERTER,
        grid_sampler_2d.CONVERTER,
        linear.CONVERTER,
        matmul.MATMUL,
        matmul.BMM,
        pow_scalar.CONVERTER,
        roi_align.CONVERTER,
        scaled_dot_product_attention.CONVERTER,
        select_int.CONVERTER,
    ]
