"""The command line: one file per command, each delivered through the hook ``sam3port_commands``."""
