"""What can be chosen about a kernel (tiles, blocks, chunks), and the choice that is computed from the shape.

May import `codegen` and `formats`.
"""
