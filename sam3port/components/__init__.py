"""The stages of SAM 3, one file each, delivered through the hook ``sam3port_components``."""
