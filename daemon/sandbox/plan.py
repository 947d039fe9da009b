"""The Plan: what toolchain files and settings become, and all that keeper and warden know of them."""

import dataclasses
import enum
import json
from collections.abc import Mapping
from typing import Any, Self

from .model import Limits


@dataclasses.dataclass(frozen=True, slots=True)
class JailSpec:
    """What a jail is made with and no request can change.

    `scratch_*` bound the tmpfs that holds /work, /tmp and /dev/shm; `pipe_bytes` is what stdout and stderr each hold
    before a writer waits (pipe(7); where the host allows less it is the kernel's 64 KB). The others are resource limits
    (getrlimit(2)).
    """

    stack_bytes: int
    file_bytes: int
    files_open: int
    scratch_bytes: int
    scratch_inodes: int
    pipe_bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class Mount:
    """A read-only bind: `source` on the host, `target` in the jail."""

    source: str
    target: str


class Warm(enum.StrEnum):
    """How far a parked jail's program has come before go."""

    EXEC = "exec"  # a process that waits just before execve
    FORK = "fork"  # a fork of the warden, which is the interpreter itself, started with the step's own command
    PRELOAD = "preload"  # the command, started, that waits by itself at a descriptor before it opens its source
    STDIN = "stdin"  # the command, started, that reads its source from standard input


@dataclasses.dataclass(frozen=True, slots=True)
class StepPlan:
    """One command of a toolchain. `argv` may hold placeholders that are filled when the command starts.

    `parked`: how many jails wait for a go.
    """

    id: str
    argv: tuple[str, ...]
    warm: Warm
    parked: int
    environment: Mapping[str, str]
    start_environment: Mapping[str, str]  # besides, for a command that starts before go; its helper removes it
    source_name: str | None  # where the source is put, below /work
    takes_artifact: str | None  # the name under which an earlier step's artefact is put, below /work
    leaves: tuple[str, ...]  # what the step leaves below /work: its artefact, or a judge's folder, which ends with /
    takes_args: bool
    jail: JailSpec
    default: Limits
    maximum: Limits
    graded: Limits | None = None  # the maximum of a graded run, where the step has those

    def stack_bytes(self, limits: Limits, *, graded: bool) -> int:
        """The stack of a graded run may take all of its memory: deep recursion is legal in contests."""
        return limits.memory_bytes if graded else self.jail.stack_bytes

    @property
    def stack_bytes_max(self) -> int:
        """The most that a run of this step has."""
        graded = 0 if self.graded is None else self.stack_bytes(self.graded, graded=True)
        return max(self.jail.stack_bytes, graded)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """From what json.loads made of `to_json`. Raises ValueError, TypeError or KeyError."""
        fields = dict(data)
        fields["graded"] = None if fields["graded"] is None else Limits(**fields["graded"])
        fields["argv"], fields["leaves"] = tuple(fields["argv"]), tuple(fields["leaves"])
        fields["warm"] = Warm(fields["warm"])
        fields["jail"] = JailSpec(**fields["jail"])
        fields["default"] = Limits(**fields["default"])
        fields["maximum"] = Limits(**fields["maximum"])
        return cls(**fields)


@dataclasses.dataclass(frozen=True, slots=True)
class ToolchainPlan:
    """What keeper and warden must know of one toolchain."""

    id: str
    mounts: tuple[Mount, ...]
    links: Mapping[str, str]  # path in the jail -> text of the symbolic link
    steps: tuple[StepPlan, ...]
    imports: tuple[str, ...]  # modules that the warden of a step which is warm by fork imports once

    @property
    def forked(self) -> StepPlan | None:
        """The step whose interpreter the warden itself is."""
        return next((step for step in self.steps if step.warm is Warm.FORK), None)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """From what json.loads made of `to_json`. Raises ValueError, TypeError or KeyError."""
        return cls(
            id=data["id"],
            mounts=tuple(Mount(**mount) for mount in data["mounts"]),
            links=dict(data["links"]),
            steps=tuple(StepPlan.from_json(step) for step in data["steps"]),
            imports=tuple(data["imports"]),
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Deployment:
    """What settings say of this host: declared here and nowhere else, passed through as it is."""

    first_uid: int  # of the host ids that jails take
    jails_max: int  # alive at once, the parked ones not counted
    memory_bytes_max: int  # of all jails and wardens together, the kernel's own for them too
    parked_bytes_max: int  # memory of all parked jails together
    wardens: int  # of each toolchain
    start_s: float  # for a warden or a jail to be ready
    warden_runs_max: int  # a warden is replaced after so many jails
    warden_age_max_s: float
    network_reuse: bool  # a network namespace is lent to one jail after the other
    grade_cores: tuple[int, ...] | None = None  # the cores of graded runs; None: one of each physical core


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """Everything the keeper takes from configuration."""

    toolchains: tuple[ToolchainPlan, ...]
    warden_mounts: tuple[Mount, ...]  # the outer root: the warden's own Python
    warden_links: Mapping[str, str]
    deployment: Deployment

    def to_json(self) -> str:
        """For `from_json` of another process."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Raises ValueError, TypeError or KeyError on text that `to_json` did not write."""
        data = json.loads(text)
        deployment = dict(data["deployment"])
        if deployment["grade_cores"] is not None:
            deployment["grade_cores"] = tuple(deployment["grade_cores"])
        return cls(
            toolchains=tuple(ToolchainPlan.from_json(toolchain) for toolchain in data["toolchains"]),
            warden_mounts=tuple(Mount(**mount) for mount in data["warden_mounts"]),
            warden_links=dict(data["warden_links"]),
            deployment=Deployment(**deployment),
        )
