"""`python -m daemon.dialects.opening`, as the user of the HTTP process: whether it can open what the dialects keep.

`cellblock serve` asks it before it starts anything. A dialect that keeps something has a module `opening` too.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterable

from daemon import settings
from daemon.sandbox.errors import OurFault


def modules(names: Iterable[str]) -> list[str]:
    """Those of the dialects that keep something."""
    every = (f"daemon.dialects.{name}.opening" for name in names)
    return [module for module in every if importlib.util.find_spec(module) is not None]


def check(configured: settings.Settings) -> None:
    """Raises OurFault, whose text names the file, the cause and the remedy."""
    for module in modules(configured.dialects):
        importlib.import_module(module).check(configured.state)


if __name__ == "__main__":
    try:
        check(settings.load())
    except OurFault as error:
        sys.exit(str(error))
