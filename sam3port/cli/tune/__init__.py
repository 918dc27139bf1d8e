"""``sam3port tune``."""
