"""What people look at to understand a build: operators, matched kernels, programs as text."""
