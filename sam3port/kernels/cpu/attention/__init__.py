"""Attention that never holds all scores, and the rotation of what it reads.

May import `products` and what is below it.
"""
