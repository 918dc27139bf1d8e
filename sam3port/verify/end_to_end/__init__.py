"""The artifact as a user runs it beside upstream's own processor: photographs and prompts in, objects out."""
