"""``sam3port build``."""
