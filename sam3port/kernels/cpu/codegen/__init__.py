"""How loop programs are written: statements, vectors of numbers, reductions, tasks for threads, elementary functions.

The ground floor: may import TVM, and nothing of the kernels.
"""
