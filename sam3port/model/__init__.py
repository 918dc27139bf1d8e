"""Builds upstream's image model: presets (sizes), seeded weights, checkpoints.

Importing this package is cheap; `sam3port.model.build` loads torch and upstream when it builds.
"""
