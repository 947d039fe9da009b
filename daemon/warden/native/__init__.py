"""jail.c, as Python calls it. Every call raises OSError with the errno of the native code where it says so."""

import ctypes
import os
import pathlib
from collections.abc import Sequence

_LIBRARY = "jail.abi3.so"  # built by pyproject.toml beside this file


class Native:
    """The functions of jail.c.

    `path` is the library, by default the one beside this file. Raises OSError when it cannot be loaded.
    """

    def __init__(self, path: str | None = None) -> None:
        path = path or str(pathlib.Path(__file__).with_name(_LIBRARY))
        # PyDLL keeps the interpreter's lock: a process that is cloned in there goes on as Python.
        self._library = ctypes.PyDLL(path)
        text, number, descriptors = ctypes.c_char_p, ctypes.c_uint32, ctypes.POINTER(ctypes.c_int)
        for name, arguments in (
            ("command_make", (text, ctypes.c_size_t, number, descriptors, ctypes.c_uint, descriptors)),
            ("pause_serve", (ctypes.c_int,)),
            ("zygote_serve", (text, ctypes.c_size_t, ctypes.c_int, ctypes.c_int)),
            ("program_park", (ctypes.POINTER(ctypes.c_void_p),)),
        ):
            function = getattr(self._library, name)
            function.argtypes, function.restype = arguments, ctypes.c_long

    def make_command(self, description: bytes, uid: int, descriptors: Sequence[int]) -> tuple[int, int]:
        """Make a jail for a command; its descriptors are the channel, then 0 to 5 groups to join.

        Returns pid and pidfd of its init; the pidfd is close-on-exec. Raises OSError, and nothing is left.
        """
        passed, pidfd = (ctypes.c_int * len(descriptors))(*descriptors), ctypes.c_int(-1)
        pid = self._library.command_make(
            description, len(description), uid, passed, len(descriptors), ctypes.byref(pidfd)
        )
        return _checked(pid, "a command's jail"), pidfd.value

    def serve_as_pause_process(self, sock: int) -> None:
        """Never returns: the process ends with the other end of the socket."""
        self._library.pause_serve(sock)

    def serve_as_zygote(self, description: bytes, sock: int, own_pids: int) -> list[str]:
        """Serve until the warden is gone; returns in the process of each program, at go, with its arguments.

        `own_pids` is a descriptor of the calling process's pid namespace. The description must stay alive. Raises
        OSError for a description that is not one of a fork.
        """
        strings = ctypes.c_void_p()
        ctypes.pythonapi.PyOS_BeforeFork()
        served = self._library.zygote_serve(description, len(description), sock, own_pids)
        ctypes.pythonapi.PyOS_AfterFork_Child()
        _checked(served, "the zygote's description")
        count = self._library.program_park(ctypes.byref(strings))
        text = ctypes.string_at(strings.value or 0, count) if count else b""
        return [os.fsdecode(argument) for argument in text.split(b"\0")[:-1]]


def _checked(result: int, what: str) -> int:
    if result < 0:
        raise OSError(-result, f"{what}: {os.strerror(-result)}")
    return result
