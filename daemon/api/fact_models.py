"""The wire models of what the daemon tells of itself: GET /, /languages and /health."""

from typing import Annotated, Literal

import pydantic

from .models import Count, MemoryBytes, Sentence, Version, Word, field, told

FEW = {"x-unbounded": "one for each language or step that is installed"}
Bytes = Annotated[int, told(minimum=0, **{"x-unbounded": "a measurement"})]


class Index(pydantic.BaseModel):
    """Which endpoints there are."""

    message: Word = field("What this is.")
    version: Word = field("Version of cellblock.")
    supported_languages: list[Word] = field("Ids of the languages, in alphabetical order.", **FEW)
    endpoints: dict[str, Sentence] = field("What each method and path is for.")


class DefaultLimits(pydantic.BaseModel):
    """What a run has where the request does not say it."""

    timeout: float = field("Seconds of wall time.", exclusiveMinimum=0, maximum="$timeout_s_max")
    memory_mb: int = field("Megabytes (2^20 bytes) of memory.", minimum=1, maximum="$memory_mb_max")
    processes: Count = field("Processes and threads at once.")
    output_bytes: int = field("Bytes of stdout and stderr together.", minimum=1, maximum="$output_bytes")


class Language(pydantic.BaseModel):
    """A language that is installed here."""

    id: Word = field("What a request names it by.")
    title: Word = field("What people call it.")
    aliases: list[Word] = field("Other names for requests.", maxItems=100)
    extensions: list[Word] = field("Of its source files, without the dot.", maxItems=100)
    source: str = field("Name of the source's file, as compilers and stack traces say it.", maxLength=64)
    lexer: Word | None = field("Name of the Pygments lexer for its sources; null where it has none.")
    example: str | None = field("A small program to begin with; null where there is none.", maxLength="$code_bytes_max")
    version: Version | None = field("Of the compiler or interpreter; null while it is not known yet.")
    compiles: bool = field("Whether a program is compiled before it runs.")
    start_charged: bool = field("Whether the start of the runtime counts as CPU time of a run.")
    default_limits: DefaultLimits = field("Of `POST /execute`.")


class Languages(pydantic.BaseModel):
    """All languages."""

    languages: list[Language] = field("In alphabetical order of their ids.", **FEW)


class ParkedJails(pydantic.BaseModel):
    """Of one step of a language."""

    parked: Count = field("How many jails are ready but for the source.")
    starting: Count = field("How many jails are being made to be parked.")
    running: Count = field("How many jails have a program that runs.")
    waiting: Count = field("How many runs wait for a jail.")
    wanted: Count = field("How many shall be.")


class Sandbox(pydantic.BaseModel):
    """What the sandbox is made of, and how it is."""

    nsjail: Word = field("Version of nsjail.")
    seccomp: Word = field("Version of the library that compiles the system call policy.")
    cgroup: Literal["v1", "v2"] | None = field("Version of the host's control groups; null while the keeper is away.")
    wardens: dict[str, Sentence] = field("Of each language `ready`, or what its wardens lack.")
    jails: Count | None = field("Jails that there are now; null while the keeper is away.")
    services: dict[str, Literal["ready", "away"]] = field("Of each language that has one, its long-lived compiler.")
    parked: dict[str, ParkedJails] = field("Of each step, by language and step.")
    parked_bytes: Bytes | None = field("Bytes of memory that parked jails hold; null while the keeper is away.")


class MemoryOfParts(pydantic.BaseModel):
    """Resident memory; keeper and jails are absent while the keeper is away."""

    http: MemoryBytes = field("Bytes of this HTTP process.")
    keeper: MemoryBytes = field("Bytes of the keeper.", 0)
    jails: MemoryBytes = field("Bytes of all jails and wardens.", 0)


class Queue(pydantic.BaseModel):
    """Requests of this HTTP process."""

    running: Count = field("How many have a slot.")
    waiting: Count = field("How many wait for one.")


class Health(pydantic.BaseModel):
    """Whether programs run, and the sandbox's facts. Where tokens are used, only `status` and `version` without one."""

    model_config = pydantic.ConfigDict(json_schema_extra={"required": ["status", "version"]})

    status: Literal["healthy", "unhealthy"] = field("Healthy is told with status 200, unhealthy with 503.")
    version: Word = field("Version of cellblock.")
    problems: dict[str, Sentence] = field("By language or part what is wrong; empty when healthy.")
    sandbox: Sandbox = field("Versions and state of its parts.")
    memory_bytes: MemoryOfParts = field("Bytes of memory by part.")
    toolchains: dict[str, Version | None] = field("Version of each language's compiler or interpreter.")
    queue: Queue = field("How busy it is.")


class Live(pydantic.BaseModel):
    """That it answers."""

    status: Literal["live"] = field("It is an answer.")


class Ready(pydantic.BaseModel):
    """That requests are welcome."""

    status: Literal["ready"] = field("Not being ready is told with status 503.")


class Document(pydantic.BaseModel):
    """This document, OpenAPI 3.1."""

    model_config = pydantic.ConfigDict(extra="allow")

    openapi: Word = field("Version of the OpenAPI specification.")
