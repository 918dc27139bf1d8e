"""Products of matrices: the loops around the register tile, linear layers, products of two activations, Strassen's.

May import `codegen`, `formats` and `scheduling`.
"""
