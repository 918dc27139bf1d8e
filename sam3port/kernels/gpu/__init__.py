"""Schedules and legalisations for GPUs: CUDA and Metal share them.

May import `sam3port.kernels.common`, and nothing of `sam3port.kernels.cpu`: what prepares weights on the host is given.
"""
