"""``sam3port doctor``."""
