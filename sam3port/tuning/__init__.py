"""Measuring schedules, and the databases that keep what was found."""
