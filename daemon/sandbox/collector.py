"""Python's garbage collector in a process that has started and serves from now on."""

import gc

COLLECT_AFTER = 10_000  # objects more


def keep_what_is_there() -> None:
    """The collector never looks at it again: in the HTTP process that takes 27 ms, in which nobody is served."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
