"""Trains the small model whose weights come with sam3port: ``python -m training``. Not part of the package."""
