"""The pin: which upstream source the port is made for, where it may come from, and the proof of it."""
