"""What is found in a Relax function, by operator and shape, and the kernel that takes its place."""
