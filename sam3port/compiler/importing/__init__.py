"""An exported program as a Relax module: decomposed, then converted operator by operator."""
