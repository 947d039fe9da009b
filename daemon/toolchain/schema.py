"""What a toolchain file may say. Unknown keys and misspelt placeholders are errors that name file, key and hint."""

import difflib
import pathlib
import re
import string
from collections.abc import Iterable
from typing import Annotated, Self

import pydantic

from daemon.sandbox.plan import Warm

RUN_PLACEHOLDERS = ("memory_mb", "processes")  # known at go; {memory_mb/16} is a sixteenth and
# {memory_mb-16} sixteen less, both at least 1
STATIC_PLACEHOLDERS = ("source", "artifact")  # known when the file is loaded
ROOT_PLACEHOLDER = "{root}"  # in mounts: the toolchain root that ./bootstrap builds
# What variants of a step are called after its id.
UNCHECKED, WITH_FILES, JUDGE, LEAVING = "-unchecked", "-with-files", "-judge", "-leaving"
HERE_PLACEHOLDER = "{here}"  # in mounts: the folder of the toolchain file itself

FileName = Annotated[str, pydantic.StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]
_PART = re.compile(r"[/-][1-9][0-9]*$")
Absolute = Annotated[str, pydantic.StringConstraints(pattern=r"^/[^\x00:]*$")]


class _Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)


def _on_host(value: str) -> str:
    if not value.startswith(("/", ROOT_PLACEHOLDER + "/", HERE_PLACEHOLDER + "/")) or ":" in value:
        raise ValueError("must be an absolute path or begin with {root}/ or {here}/, without ':'")
    return value


HostPath = Annotated[str, pydantic.AfterValidator(_on_host)]


class MountEntry(_Model):
    """A read-only directory or file: `source` on the host (may begin with {root} or {here}), `target` in the jail."""

    source: HostPath
    target: Absolute


class StepLimits(_Model):
    """Limits of one step; None leaves the deployment's default for runs. `cpu_s` bounds CPU time, of a step before the
    last; `cpu_share_ms` 0 means no quota."""

    memory_mb: int | None = pydantic.Field(default=None, gt=0)
    wall_s: float | None = pydantic.Field(default=None, gt=0)
    cpu_s: float | None = pydantic.Field(default=None, gt=0)
    processes: int | None = pydantic.Field(default=None, gt=0)
    cpu_share_ms: int | None = pydantic.Field(default=None, ge=0)
    output_bytes: int | None = pydantic.Field(default=None, gt=0)
    scratch_mb: int = pydantic.Field(default=192, gt=0)
    scratch_inodes: int = pydantic.Field(default=8192, gt=0)
    stack_mb: int = pydantic.Field(default=64, gt=0)
    file_mb: int = pydantic.Field(default=64, gt=0)
    files_open: int = pydantic.Field(default=256, gt=8)


def _expression(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return value


class StepEntry(_Model):
    """One command. The first step takes the source; a step after one that leaves an artefact takes that artefact.

    `argv_unchecked` is for who turns checking off, `argv_with_files` where other files lie beside the source,
    `argv_unchecked_with_files` for both. `packed` is what the step leaves of a source with files, in place of its
    artefact: all files that the next step needs, as judge/files.py packs them. `options`: regular expressions of the
    words that a client may have added to the command's end; one that is warm by stdin is `argv_with_files` then.
    """

    id: Annotated[str, pydantic.StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
    argv: tuple[str, ...] = pydantic.Field(min_length=1, strict=False)
    artifact: FileName | None = None
    argv_unchecked: tuple[str, ...] | None = pydantic.Field(default=None, strict=False)
    argv_with_files: tuple[str, ...] | None = pydantic.Field(default=None, strict=False)
    argv_unchecked_with_files: tuple[str, ...] | None = pydantic.Field(default=None, strict=False)
    packed: FileName | None = None
    options: tuple[Annotated[str, pydantic.AfterValidator(_expression)], ...] = pydantic.Field(default=(), strict=False)
    warm: Warm = pydantic.Field(default=Warm.EXEC, strict=False)
    parked: int = pydantic.Field(default=0, ge=0)
    start_environment: dict[str, str] = {}
    limits: StepLimits = StepLimits()

    def takes(self, option: str) -> bool:
        """Whether a client may have it added."""
        return any(re.fullmatch(expression, option) for expression in self.options)

    @property
    def variants(self) -> dict[str, tuple[str, ...]]:
        """The other commands that it has, by what their steps are called after its id."""
        named = (
            (UNCHECKED, self.argv_unchecked), (WITH_FILES, self.argv_with_files),
            (UNCHECKED + WITH_FILES, self.argv_unchecked_with_files),
        )  # fmt: skip
        return {suffix: argv for suffix, argv in named if argv is not None}

    def variant(self, *, check: bool, has_files: bool) -> str:
        """The suffix of the command for this; where there is none for both, checking or not decides."""
        wanted = "" if check else UNCHECKED
        for suffix in (wanted + WITH_FILES * has_files, wanted, WITH_FILES * has_files):
            if suffix in self.variants:
                return suffix
        return ""


class ServiceEntry(_Model):
    """A long-lived command that does the work of `step` for one submission after the other and runs none of them.

    It is asked over its standard streams (judge/service.py); past `deadline_s` it is replaced and the step run instead.
    """

    step: str
    argv: tuple[str, ...] = pydantic.Field(min_length=1, strict=False)
    deadline_s: float = pydantic.Field(gt=0)
    limits: StepLimits = StepLimits()


class BenchProgram(_Model):
    """A program that `cellblock bench` times. NONCE in its code is replaced, so that nobody has seen it."""

    name: str
    code: str
    output: str


class Bench(_Model):
    """`bare`: the commands that do on the host what a run does, in a directory with the source and `links`."""

    bare: list[list[str]] = pydantic.Field(min_length=1)
    links: dict[FileName, str] = {}
    programs: tuple[BenchProgram, ...] = pydantic.Field(min_length=1, strict=False)


class Neighbour(_Model):
    """A program that does its worst until it is ended, beside what `cellblock bench --fairness` measures."""

    name: str
    code: str


class Fairness(_Model):
    """Programs whose CPU time `cellblock bench --fairness` compares, alone and beside neighbours.

    A program's work is the same in every run: it counts steps, and never looks at a clock.
    """

    programs: tuple[BenchProgram, ...] = pydantic.Field(default=(), strict=False)
    neighbours: tuple[Neighbour, ...] = pydantic.Field(default=(), strict=False)


class Forbidden(_Model):
    """A construct that is refused before the program runs: token sequences, and the reason a person is told.

    Tokens are separated by blanks; `...` stands for any tokens up to the end of the statement, `"http*"` for a literal
    that begins so, in any quotes. Where `beside` names
    sequences, one of them must be in the code too: the import without which the words mean something else.
    """

    tokens: tuple[str, ...] = pydantic.Field(min_length=1, strict=False)
    beside: tuple[str, ...] = pydantic.Field(default=(), strict=False)
    reason: str


class SelfTest(_Model):
    """A program and the exact output that proves the toolchain works."""

    code: str
    output: str


class Toolchain(_Model):
    """One language. `joins_sources`: all sources that lie together are compiled together, whichever is `source`.
    `package_languages`: the codes that problem packages have for it, where its extensions do not tell them. Of those in
    `package_submissions` it runs the submissions of packages, in place of the language whose extensions they have.

    `version` is the command whose first line is its version; `version_files` are files whose content belongs to the
    version besides, such as the package.json of a library that compiles. Either differs: nothing kept is used.
    `example` is a small program that a page shows whoever chooses the language.
    """

    id: Annotated[str, pydantic.StringConstraints(pattern=r"^[a-z][a-z0-9+#_-]{0,31}$")]
    title: str
    aliases: tuple[str, ...] = pydantic.Field(default=(), strict=False)
    extensions: tuple[str, ...] = pydantic.Field(min_length=1, strict=False)
    source: FileName
    lexer: str | None = None
    example: str | None = None
    joins_sources: bool = False
    package_languages: tuple[str, ...] = pydantic.Field(default=(), strict=False)
    package_submissions: tuple[str, ...] = pydantic.Field(default=(), strict=False)
    version: tuple[str, ...] = pydantic.Field(min_length=1, strict=False)
    version_files: tuple[HostPath, ...] = pydantic.Field(default=(), strict=False)
    mounts: tuple[MountEntry, ...] = pydantic.Field(min_length=1, strict=False)
    links: dict[Absolute, str] = {}
    environment: dict[str, str] = {}
    steps: tuple[StepEntry, ...] = pydantic.Field(min_length=1, strict=False)
    imports: tuple[str, ...] = pydantic.Field(default=(), strict=False)
    service: ServiceEntry | None = None
    forbidden: tuple[Forbidden, ...] = pydantic.Field(default=(), strict=False)
    self_test: SelfTest
    bench: Bench | None = None
    fairness: Fairness = Fairness()
    folder: pathlib.Path = pathlib.Path("/")  # of the file itself; the registry sets it, and a file may not

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [step.id for step in self.steps]
        if len(set(names)) != len(names) or {VERSION_STEP, SERVICE_STEP} & set(names):
            raise ValueError(f"steps: ids must differ from each other and from {VERSION_STEP!r}, {SERVICE_STEP!r}")
        if self.service is not None and self.service.step not in names[:-1]:
            raise ValueError(f"service: step {self.service.step!r} is not one that leaves an artifact")
        if self.steps[-1].artifact is not None:
            raise ValueError(f"steps: the last step, {names[-1]!r}, runs the program and leaves no artifact")
        for before in self.steps[:-1]:
            if before.artifact is None:
                raise ValueError(f"steps: {before.id!r} is not the last step and must name the artifact it leaves")
        if self.steps[-1].warm is Warm.STDIN:
            raise ValueError("steps: the last step's standard input is the program's, it cannot be warm by stdin")
        if any(step.warm is Warm.STDIN and step.argv_with_files is None for step in self.steps):
            raise ValueError(
                "steps: one that is warm by stdin needs argv_with_files, for a source that has files beside it"
            )
        if self.steps[-1].options:
            raise ValueError("steps: the last step runs the program, which has arguments of its own and no options")
        if sum(step.warm is Warm.FORK for step in self.steps) > 1:
            raise ValueError('steps: the warden can be the interpreter of one step only (warm = "fork")')
        if self.fairness.programs and self.bench is None:
            raise ValueError(
                "fairness: programs are compared with the bare command, and there is no [bench] that names it"
            )
        for step in self.steps:
            for argument in (argument for argv in (step.argv, *step.variants.values()) for argument in argv):
                check_placeholders(argument, STATIC_PLACEHOLDERS + RUN_PLACEHOLDERS)
        return self

    @property
    def own_files(self) -> frozenset[str]:
        """Names below /work of the source and of what steps leave: no other file may have one of them."""
        left = (name for step in self.steps for name in (step.artifact, step.packed) if name is not None)
        return frozenset((self.source, *left))

    @property
    def compiles(self) -> bool:
        """True when a step before the last leaves an artefact."""
        return len(self.steps) > 1

    def takes(self, option: str) -> bool:
        """Whether a client may have it added to a command that compiles."""
        return any(step.takes(option) for step in self.steps[:-1])

    def refused(self, options: Iterable[str]) -> str | None:
        """The first that is not taken."""
        return next((one for one in options if not self.takes(one)), None)

    @property
    def takes_options(self) -> bool:
        """True when a command that compiles has any."""
        return any(step.options for step in self.steps[:-1])

    @property
    def start_is_charged(self) -> bool:
        """True when the program starts at go, by execve(2), so that its CPU time has the runtime's start in it.

        How a step is warm declares it, not whether its jail was parked: without pools it starts before go too.
        """
        return self.steps[-1].warm is Warm.EXEC

    @property
    def names(self) -> tuple[str, ...]:
        """The id and every alias, as the file spells them."""
        return (self.id, *self.aliases)


VERSION_STEP, SERVICE_STEP = "version", "service"


def check_placeholders(text: str, known: Iterable[str]) -> None:
    """Raises ValueError with a hint when `text` holds a placeholder that is not `known`."""
    known = tuple(known)
    for _, name, _, _ in string.Formatter().parse(text):
        if name is not None and _PART.sub("", name) not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {{{close[0]}}}?" if close else "known are " + ", ".join(f"{{{k}}}" for k in known)
            raise ValueError(f"unknown placeholder {{{name}}} in {text!r}: {hint}")


def fill_static(text: str, values: dict[str, str]) -> str:
    """Fill what is known now and leave the placeholders of go as they are, braces escaped for the second filling."""
    filled = []
    for literal, name, _, _ in string.Formatter().parse(text):
        filled.append(literal.replace("{", "{{").replace("}", "}}"))
        if name in values:
            filled.append(values[name].replace("{", "{{").replace("}", "}}"))
        elif name is not None:
            filled.append(f"{{{name}}}")
    return "".join(filled)
