"""Other CPUs and architectures, run by QEMU's user mode."""
