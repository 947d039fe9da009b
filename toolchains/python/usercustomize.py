"""Makes a started interpreter wait for go just before it opens main.py, so that everything after that is CPython's own.

CPython imports this near the end of its start (the documentation of `site`), here by way of PYTHONPATH. The last that
it asks before it opens main.py is whether that is a package (pymain_get_importer in Modules/main.c), by way of
sys.path_hooks: there the interpreter becomes the warden, whose forks are the programs (CELLBLOCK_CONTROL), or one
parked program (CELLBLOCK_GATE). What it leaves for the program to see is a longer sys.modules and one callback of
atexit, which takes the short way out where that makes no difference.
"""

import sys

natural = set(sys.modules)  # what any program would find

import atexit
import gc
import io
import os
import types
import weakref

HERE = os.path.dirname(os.path.abspath(__file__))
MAIN = os.path.abspath(sys.argv[0])
streams = {}  # those that we made
kept = []  # of the warden's in its forks: to free it would take longer than a program's start
OBJECTS_MAX = 200_000  # looking at more would take as long as the interpreter's own end
LAST_WORDS = {id(kind) for kind in (
    types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType, io.FileIO, io.TextIOWrapper, io.BufferedReader,
    io.BufferedWriter, io.BufferedRandom, io.BufferedRWPair,
)}  # fmt: skip
mro_of, namespace_of = type.__dict__["__mro__"].__get__, type.__dict__["__dict__"].__get__


def hide():
    """Take our own traces out of what the program sees."""
    del os.environ["PYTHONPATH"]
    for variable in ("CELLBLOCK_CONTROL", "CELLBLOCK_GATE", "CELLBLOCK_END", "CELLBLOCK_IMPORTS"):
        os.environ.pop(variable, None)
    sys.path[:] = [path for path in sys.path if path not in (HERE, "/cellblock")]
    for path in [path for path in sys.path_importer_cache if path.startswith("/cellblock")]:
        del sys.path_importer_cache[path]
    for name in [name for name in sys.modules if name.partition(".")[0] == "daemon"]:
        del sys.modules[name]


def open_streams():
    """Standard streams as CPython makes them (its create_stdio), now that the descriptors are the program's."""
    open_stream("stdin", 0, "rb", sys.stdin.errors)
    open_stream("stdout", 1, "wb", sys.stdout.errors)
    open_stream("stderr", 2, "wb", "backslashreplace")


def open_stream(name, descriptor, mode, errors):
    buffer = open(descriptor, mode, -1, closefd=False)  # noqa: SIM115
    buffer.raw.name = f"<{name}>"
    is_error = name == "stderr"
    newline = None if name == "stdin" else "\n"
    stream = io.TextIOWrapper(buffer, sys.stdout.encoding, errors, newline, line_buffering=is_error)
    stream.mode = mode[0]
    streams[name] = stream
    setattr(sys, name, stream)
    setattr(sys, f"__{name}__", stream)


def fit_stdin():
    """A stream notes when it is made whether it can be rewound; the descriptor is another since: a file or a pipe."""
    try:
        os.lseek(0, 0, os.SEEK_CUR)
        is_file = True
    except OSError:
        is_file = False
    if sys.stdin.seekable() != is_file:
        open_stream("stdin", 0, "rb", sys.stdin.errors)
        gc.freeze()


def unshadow():
    """A module beside main.py goes before one of the library that nothing has imported yet but ourselves."""
    for entry in os.listdir(os.path.dirname(MAIN)):
        stem = entry.partition(".")[0]
        if stem in sys.modules and stem not in natural:
            for name in [name for name in sys.modules if name == stem or name.startswith(stem + ".")]:
                del sys.modules[name]


def go_on(arguments):
    """The last of ours before CPython opens main.py."""
    sys.argv += arguments
    sys.orig_argv += arguments
    fit_stdin()
    unshadow()


def take_the_short_way_out():
    """End a program that has nothing more to say without the interpreter's own end, which takes a third of its start.

    What does not work here (the program has left no memory, its output is closed) CPython will meet and tell again.
    """
    try:
        if is_short_way_open():
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(1 if getattr(sys, "last_type", None) else 0)
    except Exception:
        pass
    gc.unfreeze()  # else the namespace of __main__ would not be collected


def is_short_way_open():
    """After a main script that ended by itself or by an exception CPython removes its __file__ and __cached__, which is
    how those two are told from SystemExit, whose code nobody can see here."""
    main = vars(sys.modules.get("__main__", io))
    return (
        "__loader__" in main
        and "__file__" not in main
        and "__cached__" not in main
        and getattr(sys, "last_type", None) is not KeyboardInterrupt
        and sys.stdout is streams["stdout"]
        and sys.stderr is streams["stderr"]
        and not has_last_words()
    )


def has_last_words():
    """True where an object's end could be seen: finalizers, suspended generators, open files, callbacks of weakrefs."""
    objects = gc.get_objects()  # since go: what was there before is frozen
    if len(objects) > OBJECTS_MAX:
        return True
    kinds = {id(kind): kind for kind in map(type, objects)}  # by id: a class may have a hash of its own
    if not LAST_WORDS.isdisjoint(kinds) or any(map(has_finalizer, kinds.values())):
        return True
    if any(has_finalizer(o) for o in objects if issubclass(type(o), type)):
        return True
    return any(type(o) is weakref.ref and o.__callback__ is not None for o in objects)


def has_finalizer(kind):
    """Asked of `type` itself: nothing that the program wrote may run for it."""
    return any("__del__" in namespace_of(base) for base in mro_of(kind))


def wait_at_the_gate(gate):
    """Returns the program's arguments. They come as "go" and then each of them, with a NUL at its end; its
    input, where that is a file, comes beside them and is put at 0."""
    hide()
    prepare()
    import _socket

    sock = _socket.socket(fileno=gate)
    sock.send(b"takes")
    message, beside, _, _ = sock.recvmsg(64 << 10, _socket.CMSG_SPACE(4))
    sock.close()
    if not message:
        os._exit(0)
    for _, _, data in beside:
        given = int.from_bytes(data, sys.byteorder)
        os.dup2(given, 0)
        os.close(given)
    return [os.fsdecode(argument) for argument in message.split(b"\0")[1:-1]]


def be_the_warden(control):
    sys.path.append("/cellblock")
    from daemon.warden.__main__ import main

    for name in os.environ.get("CELLBLOCK_IMPORTS", "").split():
        __import__(name)
    hide()
    kept.append(main)
    return main(control, prepare)


def prepare():
    open_streams()
    gc.freeze()


def stop_at_main(path):
    """A path hook; None: main.py is no package."""
    if path != MAIN:
        raise ImportError(path)
    sys.path_hooks.remove(stop_at_main)
    if "CELLBLOCK_CONTROL" in os.environ:
        go_on(be_the_warden(int(os.environ["CELLBLOCK_CONTROL"])))
    elif "CELLBLOCK_GATE" in os.environ:
        os.close(int(os.environ["CELLBLOCK_END"]))  # CPython says by itself when it has ended
        go_on(wait_at_the_gate(int(os.environ["CELLBLOCK_GATE"])))


atexit.register(take_the_short_way_out)  # the first to be registered is the last to be called
sys.path_hooks.insert(0, stop_at_main)
raise ImportError("there is no usercustomize, as far as the program can see", name="usercustomize")
