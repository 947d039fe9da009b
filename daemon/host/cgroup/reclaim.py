"""Takes back what the kernel keeps on the account of a group whose processes are gone: names that a program looked up.

Such names (negative dentries) of the toolchain's file system stay when the group is removed, and nobody is charged for
them any more: one program left half a gigabyte behind. Asking the kernel to take them back may last a second, so a
thread of its own asks, and the group is removed after that.
"""

import concurrent.futures
import contextlib
import functools
from collections.abc import Callable

from . import mounts

WORTH_BYTES = 16 << 20  # a program that starts, runs and ends leaves less than a megabyte


@functools.cache
def _thread() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(1, "reclaim")


class Reclaim:
    """Of one group. `left_bytes` tells how much the kernel keeps on its account; writing `word` to `path` asks for it
    back."""

    def __init__(self, left_bytes: Callable[[], int], path: str, word: Callable[[int], str]) -> None:
        self._left_bytes, self._path, self._word = left_bytes, path, word
        self._asked: concurrent.futures.Future[None] | None = None

    def is_over(self) -> bool:
        """False while the thread is at it. Asks at the first call, where that is worth it, and never again."""
        if self._asked is None:
            try:
                left_bytes = self._left_bytes()
            except (OSError, ValueError, KeyError):  # it is gone, or this kernel does not tell
                return True
            if left_bytes < WORTH_BYTES:
                return True
            self._asked = _thread().submit(self._ask, self._word(left_bytes))
        return self._asked.done()

    def _ask(self, word: str) -> None:
        with contextlib.suppress(OSError):  # EAGAIN: not all of it was to be had (cgroup-v2.rst)
            mounts.write_text(self._path, word)
