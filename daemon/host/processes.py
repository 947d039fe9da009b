"""Descriptors of processes and files that came from elsewhere: is it what it must be?"""

import os
import signal
import stat


def is_regular_file(descriptor: int, bytes_max: int) -> bool:
    """True for a regular file of at most `bytes_max` bytes; False for anything else, and where fstat(2) fails."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size <= bytes_max


def is_pidfd(descriptor: int) -> bool:
    """True for a pidfd (pidfd_open(2)), of a process that is gone too."""
    try:
        signal.pidfd_send_signal(descriptor, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return True
