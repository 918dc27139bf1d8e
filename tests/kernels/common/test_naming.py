"""Kernels are called by what they are."""

from __future__ import annotations

import re
from typing import Any

import tvm
from tvm import tirx

from sam3port.kernels.common.naming import name_of, named_by_content
from tests.compiler.importing.functions import small


def kernels(module: Any) -> set[str]:
    return {str(name.name_hint) for name, each in module.functions_items() if isinstance(each, tirx.PrimFunc)}


def test_equal_kernels_have_equal_names_in_any_module() -> None:
    one, other = (kernels(named_by_content(small(scale))) for scale in (2.0, 3.0))
    assert len(one) == len(other) == 3
    different = one ^ other
    assert len(different) == 2 and all(re.fullmatch(r"scaled_[0-9a-f]{16}", name) for name in different)


def test_counters_of_tvm_are_no_part_of_a_name() -> None:
    plain, counted = (kernels(named_by_content(small(names=names))) for names in (("f_g", "h"), ("f7_g12", "h3")))
    assert plain == counted


def test_names_are_the_same_when_given_again_and_after_a_file() -> None:
    named = named_by_content(small())
    assert kernels(named_by_content(named)) == kernels(named)
    read = tvm.ir.load_json(tvm.ir.save_json(small()))
    assert kernels(named_by_content(read)) == kernels(named)


def test_a_long_name_is_cut_and_still_says_which_kernel_it_is() -> None:
    kernel = next(each for _, each in small().functions_items() if isinstance(each, tirx.PrimFunc))
    kernel = kernel.without_attr("global_symbol")
    name = name_of("fused_" + "add_multiply_" * 50, kernel)
    assert len(name) < 80 and name.startswith("fused_add_multiply_")
    assert name.endswith(name_of("f", kernel)[1:])
