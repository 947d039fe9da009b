"""From a Report to what Piston answers: codes, statuses and sentences, which are isolate's (isolate(1))."""

import codecs
from typing import assert_never

from daemon.judge.report import signal_name
from daemon.judge.submission import Reason, Report
from daemon.sandbox.pumps import Piece

from .models import Answer, Stage
from .runtimes import Runtime

NS_OF_MS = 1_000_000
KILLED = "SIGKILL"  # what ends a program at a limit
REAL_TIME, REAL_TIME_LAST, FROM_LAST = 34, 64, 50  # signals; from the third on they are counted down from the last
NAMES = {
    **{number: signal_name(number) for number in (*range(1, 32), *range(REAL_TIME, FROM_LAST), REAL_TIME_LAST)},
    **{number: f"SIGRTMAX-{REAL_TIME_LAST - number}" for number in range(FROM_LAST, REAL_TIME_LAST)},
}
SIGNALS = {name: number for number, name in NAMES.items()}


class Texts:
    """Output as text: what is no UTF-8 becomes U+FFFD, and no character is cut in two."""

    def __init__(self) -> None:
        make = codecs.getincrementaldecoder("utf-8")
        self._decoders = {name: make("replace") for name in ("stdout", "stderr")}

    def next(self, name: str, data: bytes) -> str:
        """Of a stream's next bytes."""
        return self._decoders[name].decode(data)

    def rest(self) -> dict[str, str]:
        """What was left of a character of each stream."""
        return {name: decoder.decode(b"", final=True) for name, decoder in self._decoders.items()}


def of_report(report: Report, runtime: Runtime) -> Answer:
    """The whole answer. A compiler that was not needed, because the program was kept, has succeeded in silence."""
    compiled = None
    if runtime.toolchain.compiles:
        compiled = of_compilation(report)
    has_run = report.reason is not Reason.COMPILE_ERROR
    run = of_stage(report) if has_run or compiled is None else compiled
    return Answer(compile=compiled, run=run, language=runtime.language, version=runtime.version)


def of_compilation(report: Report) -> Stage:
    """What became of compiling. Clients expect numbers: where no compiler was started it has used nothing."""
    if report.compilation is None:
        wall_ms = round(report.compile_ns / NS_OF_MS)
        return Stage(
            signal=None, stdout="", stderr="", code=0, output="", memory=0, message=None, status=None, cpu_time=0,
            wall_time=wall_ms,
        )  # fmt: skip
    stage = of_stage(report.compilation)
    stage = stage.model_copy(update={"memory": stage.memory or 0, "cpu_time": stage.cpu_time or 0})
    if report.reason is Reason.COMPILE_ERROR and stage.code == 0:  # it said that all is well, and left nothing to run
        return stage.model_copy(update={"code": 1, "status": "RE", "message": report.error})
    return stage


def of_stage(report: Report) -> Stage:
    """Of a program, or of a compiler."""
    code, signal, status, message = ending(report)
    return Stage(
        signal=signal, stdout=report.stdout.decode("utf-8", "replace"), stderr=report.stderr.decode("utf-8", "replace"),
        code=code, output=interleaved(report.pieces), memory=report.memory_bytes, message=message, status=status,
        cpu_time=None if report.cpu_ns is None else round(report.cpu_ns / NS_OF_MS),
        wall_time=round(report.wall_ns / NS_OF_MS),
    )  # fmt: skip


def ending(report: Report) -> tuple[int | None, str | None, str | None, str | None]:
    """How it ended: code, signal, status and sentence. Raises AssertionError for what was not started."""
    match report.reason:
        case Reason.EXITED:
            code = report.exit_code
            return (code, None, "RE", f"Exited with error status {code}") if code else (code, None, None, None)
        case Reason.SIGNAL:
            number = report.signal or 0
            return None, NAMES.get(number, KILLED), "SG", f"Caught fatal signal {number}"
        case Reason.TIME_LIMIT:
            return None, KILLED, "TO", "Time limit exceeded (wall clock)"
        case Reason.CPU_LIMIT:
            return None, KILLED, "TO", "Time limit exceeded"
        case Reason.MEMORY_LIMIT:
            return None, KILLED, "SG", report.error
        case Reason.OUTPUT_LIMIT:
            stream, status = ("stderr", "EL") if len(report.stderr) > len(report.stdout) else ("stdout", "OL")
            return None, KILLED, status, f"{stream} length exceeded"
        case Reason.COMPILE_ERROR:
            raise AssertionError("nothing was started")
        case _:
            assert_never(report.reason)


def interleaved(pieces: tuple[Piece, ...]) -> str:
    """Both streams in the order in which they were read."""
    texts = Texts()
    return "".join([texts.next(name, data) for name, data in pieces] + [*texts.rest().values()])
