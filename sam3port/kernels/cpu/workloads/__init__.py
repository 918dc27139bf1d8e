"""What a kernel has to compute, named by a key: which schedules are worth a measurement, and which were measured.

`records` has the schedules that the package brings. May import the kernels of `products`, `convolutions` and
`attention`, and what is below them.
"""
