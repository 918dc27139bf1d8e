"""A page and an API about one artifact, over HTTP: pictures come in, objects and their masks go out; needs no torch."""
