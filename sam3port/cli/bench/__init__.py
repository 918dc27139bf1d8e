"""``sam3port bench``."""
