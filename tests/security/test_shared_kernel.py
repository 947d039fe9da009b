"""System calls whose effect would reach beyond the jail through what all jails share: toolchain files, host-wide pools."""

import pathlib
import textwrap

import pytest

from tests.server import START_S, Server, facts, until

PREAMBLE = """
import ctypes, errno
socket = __import__('sock' + 'et')
libc = ctypes.CDLL(None, use_errno=True)

def ask(number, *arguments):
    "The result of a system call by its x86-64 number, or the name of its errno."
    ctypes.set_errno(0)
    found = libc.syscall(ctypes.c_long(number), *(ctypes.c_ulong(value) for value in arguments))
    return errno.errorcode[ctypes.get_errno()] if found == -1 else found
"""


def found(cellblock: Server, code: str) -> object:
    return facts(cellblock, PREAMBLE + textwrap.dedent(code), timeout=60)


@pytest.mark.threat("U7")
def test_no_filter_can_be_attached_to_a_socket_and_ordinary_options_can(cellblock: Server) -> None:
    """SO_ATTACH_FILTER, its kin, SO_LOCK_FILTER: the host's programs share the bound of their compiled code."""
    code = """
    one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    value = ctypes.create_string_buffer(16)
    print(json.dumps([ask(54, one.fileno(), 1, option, ctypes.addressof(value), 16) for option in (26, 44, 50, 51, 52, 26 | 1 << 32)]))
    """
    assert found(cellblock, code) == ["ENOPROTOOPT"] * 6
    code = """
    one = socket.socket(socket.AF_UNIX)
    one.settimeout(1)
    for option, value in ((socket.SO_SNDBUF, 4096), (socket.SO_RCVBUF, 4096), (socket.SO_PASSCRED, 1), (socket.SO_REUSEADDR, 1)):
        one.setsockopt(socket.SOL_SOCKET, option, value)
    print(json.dumps(one.getsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED)))
    """
    assert found(cellblock, code) == 1


@pytest.mark.threat("U8")
def test_flushing_and_advice_are_answered_and_do_not_reach_the_kernel(cellblock: Server) -> None:
    """The kernel would answer EBADF to a descriptor that is not open, and ENOMEM to a range that is not mapped."""
    code = """
    open('note', 'w').write('kept')
    with open('note') as file:
        os.fsync(file), os.fdatasync(file), os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        kept = file.read()
    print(json.dumps([kept, ask(74, 999), ask(75, 999), ask(221, 999, 0, 0, 4), ask(277, 999, 0, 0, 7), ask(26, 4096, 4096, 4)]))
    """
    assert found(cellblock, code) == ["kept", 0, 0, 0, 0, 0]


@pytest.mark.threat("U8")
def test_reading_does_not_tell_what_others_have_read(cellblock: Server) -> None:
    """RWF_NOWAIT fails where a page is not in the cache, as mincore(2) would tell."""
    code = """
    file = os.open('/usr/bin/python3', os.O_RDONLY)
    def read(flags):
        try:
            return os.preadv(file, [bytearray(4)], 0, flags)
        except OSError as error:
            return errno.errorcode[error.errno]
    print(json.dumps([read(0), read(os.RWF_NOWAIT), read(os.RWF_HIPRI)]))
    """
    assert found(cellblock, code) == [4, "ENOTSUP", 4]  # its other name


@pytest.mark.threat("P6")
def test_no_crash_reaches_a_handler_of_the_host(cellblock: Server) -> None:
    """Where core_pattern names a program, a limit of 0 does not keep the kernel from starting it, and 1 does (core(5))."""
    code = """
    import resource
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.prlimit(0, resource.RLIMIT_CORE, (0, 0))
    pair = (ctypes.c_ulong * 2)(0, 0)
    answers = [ask(160, 4, ctypes.addressof(pair)), ask(160, 4 | 1 << 32, ctypes.addressof(pair)), ask(302, 1, 4, 0, 0)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
    print(json.dumps([before, resource.getrlimit(resource.RLIMIT_CORE), answers, resource.getrlimit(resource.RLIMIT_NOFILE)]))
    """
    assert found(cellblock, code) == [[1, 1], [1, 1], [0, 0, "EPERM"], [20, 20]]


def names_that_are_not() -> int:
    """How many names of files that do not exist the host's kernel remembers (proc_sys_fs(5))."""
    return int(pathlib.Path("/proc/sys/fs/dentry-state").read_text().split()[4])


@pytest.mark.threat("U7")
@pytest.mark.vm
def test_names_that_a_program_looked_up_do_not_stay_in_the_kernel(cellblock: Server) -> None:
    """Half a kilobyte each. They stay on the account of the jail's group, and on nobody's when that is removed."""
    before, looked_up = names_that_are_not(), 60_000
    code = """
    base = '/usr/' + 'x' * 240
    print(json.dumps(sum(not os.path.exists(base + str(number)) for number in range(60000))))
    """
    assert found(cellblock, code) == looked_up
    until(lambda: names_that_are_not() < before + looked_up // 3, START_S, "they are given back")
