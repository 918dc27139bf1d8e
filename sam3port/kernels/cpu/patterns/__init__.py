"""What is found in a Relax function, by operator and shape, and the kernel that takes its place.

May import everything of `sam3port.kernels.cpu` but the roof: `dispatch`, `default_schedule`, `pipeline`.
"""
