"""From a Report to the wire: the one place that knows both."""

import dataclasses
import uuid

from daemon.judge.constructs import Finding
from daemon.judge.executor import signal_name
from daemon.judge.submission import Report
from daemon.toolchain.schema import Toolchain

from .models import ExecuteResponse, ForbiddenConstruct


def of_report(toolchain: Toolchain, report: Report, version: str | None, finding: Finding | None) -> ExecuteResponse:
    """Bytes that are not UTF-8 are shown with U+FFFD; times become seconds."""
    stdout = report.stdout.decode("utf-8", "replace")
    return ExecuteResponse(
        output=stdout,
        error=report.error,
        execution_time=(report.compile_ns + report.wall_ns) / 1e9,
        success=report.success,
        stdout=stdout,
        stderr=report.stderr.decode("utf-8", "replace"),
        exit_code=report.exit_code,
        signal=None if report.signal is None else signal_name(report.signal),
        reason=report.reason.value,
        cpu_time=None if report.cpu_ns is None else report.cpu_ns / 1e9,
        wall_time=report.wall_ns / 1e9,
        compile_time=report.compile_ns / 1e9,
        memory_bytes=report.memory_bytes,
        truncated=report.truncated,
        cached=False,
        language=toolchain.id,
        version=version,
        request_id=uuid.uuid4().hex,
        warnings=None if finding is None else [ForbiddenConstruct(**dataclasses.asdict(finding))],
    )


def to_json(answer: ExecuteResponse) -> str:
    """`warnings` only where there are some."""
    return answer.model_dump_json(exclude={"warnings"} if answer.warnings is None else None)
