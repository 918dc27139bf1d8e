"""sam3port's own patches of upstream sam3: one file, one patch, each a plugin of the public hooks."""
