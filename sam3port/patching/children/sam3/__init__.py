"""Stands where upstream's package will be: installs sam3port's hook, then gives way to the patched upstream.

Reached through ``sys.path`` by child processes and by ``sam3port run``; never imported as ``sam3port.anything``.
"""

import importlib
import sys

import sam3port

del sys.modules["sam3"]  # before installing, which refuses a sam3 that was imported too early
sam3port.install()
importlib.import_module("sam3")
