"""jail.c, as Python calls it. Every call raises OSError with the errno of the native code where it says so.

The library is also a program, the maker (helpers.py). Another, input.c, is for runtimes in jails (rootfs.py)."""

import ctypes
import os
import pathlib

LIBRARY = str(pathlib.Path(__file__).with_name("jail.abi3.so"))  # built by pyproject.toml
INPUT_LIBRARY = str(pathlib.Path(__file__).with_name("input.abi3.so"))


class Native:
    """The functions of jail.c.

    Raises OSError when the library cannot be loaded.
    """

    def __init__(self) -> None:
        # PyDLL keeps the interpreter's lock: a process that is cloned in there goes on as Python.
        self._library = ctypes.PyDLL(LIBRARY)
        for name, arguments in (
            ("zygote_serve", (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int)),
            ("program_park", (ctypes.POINTER(ctypes.c_void_p),)),
        ):
            function = getattr(self._library, name)
            function.argtypes, function.restype = arguments, ctypes.c_long

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
