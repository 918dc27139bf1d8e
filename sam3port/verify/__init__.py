"""The proof: a component's numbers beside upstream's, on inputs that no build has seen."""
