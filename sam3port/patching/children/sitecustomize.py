"""Run by Python itself when a child of ``sam3port run`` starts, which has this folder on its PYTHONPATH.

A child that stands in a folder with a ``sam3`` of its own would find that one before anything on PYTHONPATH, the
package beside this file included. Only a finder comes first.
"""

import importlib.machinery
import importlib.util
import sys
from pathlib import Path

try:
    import sam3port.autoload
except ImportError:
    pass  # The child runs in another environment, which has no part in this.
else:
    sam3port.autoload.start()

# The environment's own sitecustomize, which this one hides.
_path = [entry for entry in sys.path if Path(entry) != Path(__file__).parent]
_spec = importlib.machinery.PathFinder.find_spec("sitecustomize", _path)
if _spec is not None and _spec.loader is not None:
    _module = importlib.util.module_from_spec(_spec)
    sys.modules["sitecustomize"] = _module
    _spec.loader.exec_module(_module)
