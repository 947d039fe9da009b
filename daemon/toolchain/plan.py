"""Turns toolchain files and the deployment's limits into the plan that keeper and warden work by."""

import dataclasses
import pathlib

from daemon.sandbox.model import Limits
from daemon.sandbox.plan import Deployment, JailSpec, Mount, Plan, StepPlan, ToolchainPlan, Warm

from .registry import BadToolchain, Registry
from .schema import (
    HERE_PLACEHOLDER,
    JUDGE,
    LEAVING,
    ROOT_PLACEHOLDER,
    SERVICE_STEP,
    VERSION_STEP,
    WITH_FILES,
    StepEntry,
    StepLimits,
    Toolchain,
    fill_static,
)

MB = 1 << 20
COMPILE_MEMORY_MB = 1024
COMPILE_WALL_S = 20.0
COMPILE_OUTPUT_BYTES = MB
JUDGE_LIMITS = StepLimits(memory_mb=2048, wall_s=60.0, processes=64, cpu_share_ms=0)
FEEDBACK = "feedback/"  # the folder below /work where a judge writes to, which is packed when it has ended
VERSION_LIMITS = StepLimits(memory_mb=256, wall_s=10.0, processes=64, cpu_share_ms=0)
PIPE_BYTES_MAX = MB  # of /proc/sys/fs/pipe-max-size, for whoever has no privilege (pipe(7))
PYTHON_ROOT = "python"  # below the toolchain root: the warden's own Python
LINKS = {"/bin": "usr/bin", "/sbin": "usr/sbin", "/lib": "usr/lib", "/lib64": "usr/lib64"}
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/work", "LANG": "C.UTF-8", "TZ": "UTC"}


@dataclasses.dataclass(frozen=True, slots=True)
class RunLimits:
    """The deployment's bounds of a run: what it gets unasked, what it may ask for, and what it may have when graded.
    `judge_bytes`: the files of a test that what judges it may be given."""

    default: Limits
    maximum: Limits
    graded: Limits
    output_bytes: int
    judge_bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """What a plan is built for: where toolchains are, the bounds of a run, how many jails of a step may be parked."""

    toolchain_root: pathlib.Path
    parked_max: int
    run: RunLimits
    deployment: Deployment


def build(registry: Registry, place: Place) -> Plan:
    """Raises BadToolchain when a mount's source does not exist."""
    return Plan(
        toolchains=tuple(_toolchain(toolchain, place) for toolchain in registry),
        warden_mounts=(Mount(str(place.toolchain_root / PYTHON_ROOT / "usr"), "/usr"),),
        warden_links=dict(LINKS),
        deployment=place.deployment,
    )


def _toolchain(toolchain: Toolchain, place: Place) -> ToolchainPlan:
    mounts = []
    for entry in toolchain.mounts:
        source = entry.source.replace(ROOT_PLACEHOLDER, str(place.toolchain_root), 1)
        source = source.replace(HERE_PLACEHOLDER, str(toolchain.folder), 1)
        if not pathlib.Path(source).exists():
            raise BadToolchain(f"{toolchain.id}.toml: mounts: {source} does not exist; run ./bootstrap or correct it")
        mounts.append(Mount(source, entry.target))
    version = StepEntry(id=VERSION_STEP, argv=toolchain.version, limits=VERSION_LIMITS)
    steps = [_step(toolchain, version, place, None, source=False)]
    if toolchain.service is not None:
        service = StepEntry(id=SERVICE_STEP, argv=toolchain.service.argv, limits=toolchain.service.limits)
        steps.append(_step(toolchain, service, place, None, source=False))
    before: str | None = None
    for number, step in enumerate(toolchain.steps):
        steps.append(_step(toolchain, step, place, before, source=number == 0))
        for suffix, argv in step.variants.items():
            changes = {"id": step.id + suffix, "argv": argv, "parked": 0, "warm": Warm.EXEC}
            if step.packed is not None and suffix.endswith(WITH_FILES):
                changes["artifact"] = step.packed
            steps.append(_step(toolchain, step.model_copy(update=changes), place, before, source=number == 0))
        before = step.artifact
    run = steps[-1]
    steps.append(_judge(toolchain, place, run))
    if run.warm is Warm.FORK:
        steps.append(dataclasses.replace(run, id=run.id + LEAVING, warm=Warm.EXEC, parked=0))
    targets = {mount.target for mount in mounts}
    links = {path: text for path, text in {**LINKS, **toolchain.links}.items() if path not in targets}
    return ToolchainPlan(toolchain.id, tuple(mounts), links, tuple(steps), toolchain.imports)


def _step(toolchain: Toolchain, entry: StepEntry, place: Place, takes: str | None, *, source: bool) -> StepPlan:
    is_run = entry is toolchain.steps[-1]
    values = {"source": toolchain.source, "artifact": entry.artifact or takes or ""}
    default, maximum = run_limits(toolchain, place.run) if is_run else (own_limits(entry.limits),) * 2
    limits = entry.limits
    return StepPlan(
        id=entry.id,
        argv=tuple(fill_static(argument, values) for argument in entry.argv),
        environment={**ENVIRONMENT, **toolchain.environment},
        start_environment=entry.start_environment,
        warm=entry.warm,
        parked=min(entry.parked, place.parked_max),
        source_name=toolchain.source if source and entry.warm is not Warm.STDIN else None,
        takes_artifact=takes,
        leaves=() if entry.artifact is None else (entry.artifact,),
        takes_args=is_run or (bool(entry.options) and entry.warm is Warm.EXEC),
        jail=JailSpec(
            stack_bytes=limits.stack_mb * MB, file_bytes=limits.file_mb * MB, files_open=limits.files_open,
            scratch_bytes=limits.scratch_mb * MB, scratch_inodes=limits.scratch_inodes,
            pipe_bytes=min(place.run.output_bytes, PIPE_BYTES_MAX),
        ),
        default=default,
        maximum=maximum,
        graded=graded_limits(toolchain, place.run.graded) if is_run else None,
    )  # fmt: skip


def _judge(toolchain: Toolchain, place: Place, run: StepPlan) -> StepPlan:
    """The last step again, of a checker or an interactor: it has limits of its own, and leaves what it has to say. The
    files of a test lie beside its own, and count as its memory.

    An interactor may have all of its wall time after all of a submission's.
    """
    entry = toolchain.steps[-1]
    limits = own_limits(JUDGE_LIMITS)
    most = max_of(limits, place.run.graded)
    most = dataclasses.replace(most, wall_ns=limits.wall_ns + place.run.graded.wall_ns)
    return dataclasses.replace(
        run, id=entry.id + JUDGE, warm=Warm.EXEC, parked=0, leaves=(FEEDBACK,), default=limits,
        maximum=most, graded=most,
        jail=dataclasses.replace(
            run.jail, file_bytes=max(run.jail.file_bytes, place.run.judge_bytes),
            scratch_bytes=run.jail.scratch_bytes + place.run.judge_bytes,
        ),
    )  # fmt: skip


def leaving_step(toolchain: Toolchain) -> str:
    """The last step of a run that leaves files, which a process beside the program opens: a fork of an interpreter has
    none, so it starts anew then."""
    last = toolchain.steps[-1]
    return last.id + LEAVING if last.warm is Warm.FORK else last.id


def max_of(one: Limits, other: Limits) -> Limits:
    """Each bound as high as the higher of the two."""
    return Limits(
        memory_bytes=max(one.memory_bytes, other.memory_bytes),
        wall_ns=max(one.wall_ns, other.wall_ns),
        processes=max(one.processes, other.processes),
    )


def lowered(limits: Limits, most: Limits | None) -> Limits:
    """The same, and each bound as low as that of `most`."""
    if most is None:
        return limits
    cpu_ns = min((one for one in (limits.cpu_ns, most.cpu_ns) if one is not None), default=None)
    return dataclasses.replace(
        limits, memory_bytes=min(limits.memory_bytes, most.memory_bytes), wall_ns=min(limits.wall_ns, most.wall_ns),
        processes=min(limits.processes, most.processes), cpu_ns=cpu_ns,
    )  # fmt: skip


def own_limits(limits: StepLimits) -> Limits:
    """A step that is not the run has its file's limits, and no request can raise them."""
    return Limits(
        memory_bytes=(limits.memory_mb or COMPILE_MEMORY_MB) * MB,
        wall_ns=int((limits.wall_s or COMPILE_WALL_S) * 1e9),
        processes=limits.processes or 64,
        cpu_ns=None if limits.cpu_s is None else int(limits.cpu_s * 1e9),
        cpu_share_ms=limits.cpu_share_ms or None,
    )


def run_limits(toolchain: Toolchain, run: RunLimits) -> tuple[Limits, Limits]:
    """Default and maximum of the run step: the deployment's, where the toolchain's file does not say otherwise."""
    own = toolchain.steps[-1].limits
    share_ms = run.default.cpu_share_ms if own.cpu_share_ms is None else own.cpu_share_ms or None
    default = dataclasses.replace(
        run.default,
        memory_bytes=run.default.memory_bytes if own.memory_mb is None else own.memory_mb * MB,
        wall_ns=run.default.wall_ns if own.wall_s is None else int(own.wall_s * 1e9),
        processes=max(run.default.processes, own.processes or 0),
        cpu_share_ms=share_ms,
    )
    maximum = dataclasses.replace(
        run.maximum,
        memory_bytes=max(run.maximum.memory_bytes, default.memory_bytes),
        wall_ns=max(run.maximum.wall_ns, default.wall_ns),
        processes=max(run.maximum.processes, default.processes),
        cpu_share_ms=share_ms,
    )
    return default, maximum


def graded_limits(toolchain: Toolchain, limits: Limits) -> Limits:
    """A contest's bound of processes is the program's: a runtime that needs more has what its toolchain's file says."""
    return dataclasses.replace(limits, processes=max(limits.processes, toolchain.steps[-1].limits.processes or 0))


def compile_output_bytes(entry: StepEntry) -> int:
    """The most diagnostics that the step may print."""
    return entry.limits.output_bytes or COMPILE_OUTPUT_BYTES
