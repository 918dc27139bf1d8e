"""``sam3port demo``."""
