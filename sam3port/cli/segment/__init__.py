"""``sam3port segment``: the objects in photographs."""
