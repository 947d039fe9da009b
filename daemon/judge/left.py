"""Files that a run leaves: descriptors from its jail, read here and opened by nobody's name."""

import os

from daemon.sandbox.descriptors import close_all
from daemon.sandbox.threads import to_the_end

from .submission import Submission


async def taken(left: dict[int, int], submission: Submission) -> dict[str, bytes]:
    """The contents by name, and all of the descriptors closed. `left` has them by their number among what is left.

    What does not fit into `left_bytes_max` together with those before it is left out. Raises OSError.
    """
    return await to_the_end(_read, left, submission)


def _read(left: dict[int, int], submission: Submission) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    room = submission.left_bytes_max
    try:
        for number, descriptor in sorted(left.items()):
            size = os.fstat(descriptor).st_size
            if size <= room:
                found[submission.leaves[number]] = _whole(descriptor, size)
                room -= size
    finally:
        close_all(left.values())
    return found


def _whole(descriptor: int, size: int) -> bytes:
    """Raises OSError. The jail is dead, so the file is as long as it was; it may be more than one read takes."""
    parts, offset = [], 0
    while offset < size and (part := os.pread(descriptor, size - offset, offset)):
        parts.append(part)
        offset += len(part)
    return b"".join(parts)
