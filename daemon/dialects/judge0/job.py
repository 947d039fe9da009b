"""What a client asked for, as it is stored until it has run and as long as its answer is kept."""

import dataclasses
import functools
import json


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """All that is small, by Judge0's names and in its units: seconds and kilobytes (1024 bytes)."""

    number_of_runs: int
    cpu_time_limit: float
    cpu_extra_time: float
    wall_time_limit: float
    memory_limit: int
    stack_limit: int
    max_processes_and_or_threads: int
    max_file_size: int
    command_line_arguments: str | None = None
    compiler_options: str | None = None
    redirect_stderr_to_stdout: bool = False
    callback_url: str | None = None

    @functools.lru_cache(64)  # noqa: B019 (most have the same, and there are few of them)
    def to_json(self) -> str:
        """As it is stored."""
        return json.dumps({name: getattr(self, name) for name in self.__slots__})

    @classmethod
    def from_json(cls, text: str) -> "Options":
        """What `to_json` wrote."""
        return cls(**json.loads(text))


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """One submission. `archive` is the zip of the files beside the source, which was read once and found good."""

    toolchain: str
    language_id: int
    source: bytes
    stdin: bytes | None
    expected: bytes | None
    archive: bytes | None
    options: Options

    @property
    def size(self) -> int:
        """Bytes of what it holds."""
        return sum(len(one) for one in (self.source, self.stdin, self.expected, self.archive) if one is not None)
