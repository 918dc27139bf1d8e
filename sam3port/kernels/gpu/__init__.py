"""Schedules and legalisations for GPUs: CUDA and Metal share them."""
