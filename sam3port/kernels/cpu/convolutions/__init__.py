"""Convolutions of every kind: as products of gathered patches, by Winograd's transforms, and by channel.

May import `products` and what is below it.
"""
