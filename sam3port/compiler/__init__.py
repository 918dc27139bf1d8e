"""From upstream's module to a library, a phase per file, in the order of `stage.Stage`.

export (torch.export), importing (to Relax), optimise (kernels of the target), pack (weights as kernels want them),
compile (machine code of each kernel), link (all components in one). What is kept where, and in which process, is
`sam3port.build`'s business.
"""
