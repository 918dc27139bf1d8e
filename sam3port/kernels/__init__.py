"""TIR kernels and the passes that put them to use, one package per family of targets."""
