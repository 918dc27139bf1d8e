"""Processes of Python: the one way to start them, and the one way in which they and who started them talk.

`starting` starts them; `child` is such a process as its parent sees it, `parent` the other end. They talk in lines of
JSON on standard input and output.
"""

from sam3port.children.starting import CannotStart, command_for_people, run, start, started_by_libraries

__all__ = ["CannotStart", "command_for_people", "run", "start", "started_by_libraries"]
