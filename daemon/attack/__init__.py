"""`cellblock doctor --attack`: what programs can do to this host, shown by programs that try it.

`programs/` are data: each tries one thing in a jail, and its docstring says what. `probe` reads them, `runner` runs
them in the jails of this configuration, `bait` is what they look for, `verdict` says what an end means.
"""

from .runner import rows

__all__ = ["rows"]
