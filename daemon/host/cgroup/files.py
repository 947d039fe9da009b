"""Files of a control group that only we write. Each is opened once, because a group serves one jail after the other."""

import errno
import os

from daemon.sandbox.descriptors import close_all

READ_BYTES = 64 << 10  # the files we read are far shorter


class Files:
    """Of one group, by path. All raise OSError that names the file: FileNotFoundError where the group was removed."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}
        self._written: dict[str, str | int] = {}
        self.has_failed = False  # something was not written: what is there is unknown

    def __repr__(self) -> str:
        return f"<Files: {len(self._open)} open, written {self._written}>"

    def open(self, path: str, flags: int) -> int:
        """Its descriptor, which stays open until `close`. The flags (open(2)) count the first time."""
        descriptor = self._open.get(path)
        if descriptor is None:
            descriptor = self._open[path] = os.open(path, flags | os.O_CLOEXEC)
        return descriptor

    def read(self, path: str) -> str:
        """All of it."""
        try:
            return os.pread(self.open(path, os.O_RDONLY), READ_BYTES, 0).decode()
        except OSError as error:
            raise _told(error, f"cannot read {path}") from error

    def read_keyed(self, path: str) -> dict[str, int]:
        """A flat keyed file such as memory.events or cpu.stat."""
        return keyed(self.read(path))

    def written(self, path: str) -> str | int | None:
        """What was written last; None: nothing, or it was forgotten."""
        return self._written.get(path)

    def write(self, path: str, value: str | int) -> None:
        """What is there already is not written again. Where it fails, what is there counts as unknown."""
        if self._written.get(path) == value:
            return
        self._written.pop(path, None)
        try:
            os.pwrite(self.open(path, os.O_WRONLY), str(value).encode(), 0)
        except OSError as error:
            self.has_failed = True
            raise _told(error, f"cannot write {value} to {path}") from error
        self._written[path] = value

    def reset(self, path: str) -> None:
        """Write 0 to what counts for whoever reads it by the same descriptor; before the first `read` of it."""
        try:
            os.pwrite(self.open(path, os.O_RDWR), b"0", 0)
        except OSError as error:
            raise _told(error, f"cannot reset {path}") from error

    def forget(self, path: str) -> None:
        """The same is written again next time: writing it does more than to say it."""
        self._written.pop(path, None)

    def close(self) -> None:
        """The group is removed."""
        opened, self._open = self._open, {}
        close_all(opened.values())


def keyed(text: str) -> dict[str, int]:
    """What a flat keyed file says."""
    words = text.split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=True))


def _told(error: OSError, what: str) -> OSError:
    """A file that is open while its group is removed answers ENODEV (kernfs)."""
    number = errno.ENOENT if error.errno == errno.ENODEV else error.errno
    return OSError(number, f"{what}: {error.strerror}")
