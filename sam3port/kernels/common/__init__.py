"""What is true of a Relax module whatever it is compiled for: definitions and uses, how operands lie, names by content.

May import TVM, and nothing of `sam3port.kernels.cpu` or `sam3port.kernels.gpu`.
"""
