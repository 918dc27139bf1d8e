"""The stages that take a component from upstream's source to a compiled library: export, import, optimise, compile."""
