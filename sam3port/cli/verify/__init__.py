"""``sam3port verify``."""
