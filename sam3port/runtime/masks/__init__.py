"""Masks of a picture's own size, one at a time and each only where it is: enlarged, as run lengths, as polygons."""
