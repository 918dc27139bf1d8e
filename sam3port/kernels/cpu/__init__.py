"""Kernels for CPUs: everything is sized by the registers of the target, nothing by the name of a model.

The rooms are floors of one house, from the ground up: `codegen`, `formats`, `scheduling`, `products`, then
`convolutions`, `attention` and `elementwise` side by side, `workloads`, `patterns`. Each may import those below it and
none of those above (tests/kernels/test_floors.py). `dispatch`, `default_schedule` and `pipeline` are the roof.
"""
