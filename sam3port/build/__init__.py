"""What is asked for, what of it is there already, and the processes that make the rest.

An orchestration: torch and TVM are imported in its worker processes only, by `sam3port.compiler`.
"""
