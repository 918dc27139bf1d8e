"""Kernels for CPUs: everything is sized by the vector unit of the target, nothing by the name of a model."""
