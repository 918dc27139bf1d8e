"""Kernels that compute no product: normalisations and the sampling of regions.

May import `codegen` and `formats`.
"""
