"""What a CPU has for products, and the number formats that they are computed in.

Says how operands are grouped, packed and multiplied, and has the register tile that sums them. May import `codegen`.
"""
