"""Kernels and the passes that put them to use.

What is said about a Relax graph is in `common`, what is made for a target in `cpu` and `gpu`. Both may import `common`,
which imports neither; they know nothing of each other.
"""
