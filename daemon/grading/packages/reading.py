"""Has a package unpacked and read by a process of its own, and checks what that process answers."""

import asyncio
import dataclasses
import json
import os
import pathlib
import signal
import stat
import sys
from collections.abc import Iterator

import pydantic

import daemon

from .archive import ArchiveLimits
from .problem import Problem, Program
from .refusal import CannotRead, PackageRefused, PackageTooLarge

COMMAND = (sys.executable, "-P", "-X", "utf8", "-m", "daemon.grading.packages.worker")
ENVIRONMENT = {"PYTHONPATH": str(pathlib.Path(daemon.__file__).parents[1]), "LANG": "C.UTF-8"}
ANSWER_BYTES_MAX = 16 << 20
READ_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class ReadingLimits:
    """Bounds of the process: its address space, its CPU time, and its deadline on the wall."""

    archive: ArchiveLimits = dataclasses.field(default_factory=ArchiveLimits)
    memory_bytes: int = 512 << 20
    cpu_s: int = 60
    deadline_s: float = 120.0


@dataclasses.dataclass(frozen=True, slots=True)
class _Answer:
    problem: Problem | None = None
    refused: str | None = None
    too_large: str | None = None
    host: str | None = None
    errno: int | None = None
    failed: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Package:
    """An unpacked package: `directory` is a descriptor of where it lies, and it is usable while that is open."""

    problem: Problem
    directory: int

    def open(self, path: str) -> int:
        """A descriptor for reading a file or folder of it, by a path of `problem`. The caller closes it.

        Raises CannotRead. It blocks for as long as the disk does.
        """
        return open_beneath(self.directory, "/".join(part for part in (self.problem.folder, path) if part))


ANSWER = pydantic.TypeAdapter(_Answer)


async def read_package(archive: int | None, directory: int, limits: ReadingLimits) -> Problem:
    """Unpacks the zip `archive` into the empty directory `directory`; both are descriptors and stay open. Without a zip
    the directory has been unpacked before, and only that is read.

    Nobody may write to the zip meanwhile. Paths of the answer are below the directory; a file there is opened with
    open_beneath alone, since it was written by a process that read hostile data. Raises PackageRefused; CannotRead when
    the process fails, OSError when the disk or the kernel does; then the caller removes what is in the directory.
    Cancelled, it kills the process and waits for its end.
    """
    request = {
        "archive": archive, "directory": directory, "parent": os.getpid(), "memory_bytes": limits.memory_bytes,
        "cpu_s": limits.cpu_s, "limits": dataclasses.asdict(limits.archive),
    }  # fmt: skip
    inherited = [descriptor for descriptor in (archive, directory) if descriptor is not None]
    process = await asyncio.create_subprocess_exec(
        *COMMAND, json.dumps(request), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL, pass_fds=inherited, env=ENVIRONMENT, cwd="/",
    )  # fmt: skip
    try:
        async with asyncio.timeout(limits.deadline_s):
            text = await _read_all(process.stdout)
            status = await process.wait()
    except TimeoutError:
        raise PackageRefused(f"the package takes more than {limits.deadline_s:g} seconds to be read") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if status == -signal.SIGXCPU:
        raise PackageRefused(f"the package takes more than {limits.cpu_s} seconds of CPU time to be read")
    return await asyncio.to_thread(_checked, text, status)


async def _read_all(stream: asyncio.StreamReader | None) -> bytes:
    assert stream is not None
    parts: list[bytes] = []
    size = 0
    while part := await stream.read(READ_BYTES):
        parts.append(part)
        size += len(part)
        if size > ANSWER_BYTES_MAX:
            raise PackageRefused("the package has too much in it to be described")
    return b"".join(parts)


def _checked(text: bytes, status: int) -> Problem:
    try:
        answer = ANSWER.validate_json(text, strict=True)
    except pydantic.ValidationError as error:
        raise CannotRead(f"the process that reads packages answered nonsense, status {status}") from error
    if answer.too_large is not None:
        raise PackageTooLarge(answer.too_large)
    if answer.refused is not None:
        raise PackageRefused(answer.refused)
    if answer.errno is not None:
        raise OSError(answer.errno, answer.host)
    if answer.problem is None:
        raise CannotRead(f"a package cannot be read: {answer.failed or 'no answer'}")
    for path in _paths(answer.problem):
        if not is_beneath(path):
            raise CannotRead("the process that reads packages answered a path that leads out of the package")
    return answer.problem


def _paths(problem: Problem) -> Iterator[str]:
    if problem.folder:
        yield problem.folder
    for case in problem.cases:
        yield from (case.input, case.answer)
        if case.files is not None:
            yield case.files
    programs: list[Program] = [*problem.validator.programs, *(one.program for one in problem.submissions)]
    programs += [problem.grader] if problem.grader is not None else []
    for program in programs:
        yield from (program.path, *program.files)
    for include in problem.includes:
        yield from (include.folder, *include.files)


def is_beneath(path: str) -> bool:
    """True for a relative path with neither empty parts nor . or .."""
    return "\0" not in path and all(part not in ("", ".", "..") for part in path.split("/"))


def open_beneath(directory: int, path: str, flags: int = os.O_RDONLY) -> int:
    """A descriptor of the file or folder at `path` below the descriptor `directory`, following no link anywhere.

    The caller closes it. Raises CannotRead where there is nothing, or a link on the way, or a pipe or a device.
    """
    if not is_beneath(path):
        raise CannotRead("a path leads out of its package")
    *folders, name = path.split("/")
    current = os.dup(directory)
    try:
        for folder in folders:
            inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=current)
            os.close(current)
            current = inner
        found = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=current)
    except OSError as error:
        raise CannotRead(f"a file of a package cannot be opened: {error.strerror}") from error
    finally:
        os.close(current)
    if stat.S_IFMT(os.fstat(found).st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
        os.close(found)
        raise CannotRead("a file of a package is neither a regular file nor a folder")
    return found
