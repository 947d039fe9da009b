"""What the routes work with, and what several of them do."""

import dataclasses
import importlib.metadata

from daemon.grading.grader import Grader
from daemon.grading.packages.store import Store
from daemon.judge.executor import Executor
from daemon.judge.self_tests import SelfTests
from daemon.judge.service import Service
from daemon.judge.versions import Versions
from daemon.sandbox.client import Client
from daemon.settings import Settings
from daemon.toolchain.registry import Registry
from daemon.toolchain.schema import Toolchain
from daemon.validation.constructs import Constructs
from daemon.validation.matching import Finding

from .access import Access
from .admission import Admission
from .body import Bodies
from .errors import ApiProblem
from .metrics import Metrics
from .parsing import FieldError
from .readiness import Readiness

VERSION = importlib.metadata.version("cellblock")


@dataclasses.dataclass(frozen=True, slots=True)
class Parts:
    """One of each; app.py builds it."""

    settings: Settings
    toolchains: Registry
    client: Client
    executor: Executor
    grader: Grader
    store: Store
    constructs: Constructs
    self_tests: SelfTests
    services: dict[str, Service]
    versions: Versions
    admission: Admission
    access: Access
    bodies: Bodies
    facts: dict[str, str]
    metrics: Metrics
    readiness: Readiness


async def validate(parts: Parts, toolchain: Toolchain, code: str) -> Finding | None:
    """The first forbidden construct, where the deployment looks for them. Raises ApiProblem 400 in `block` mode."""
    mode = parts.settings.validation
    finding = None if mode == "off" else await parts.constructs.find(toolchain, code)
    if finding is not None and mode == "block":
        detail = f"Potentially dangerous operation detected: {finding.found} (line {finding.line}): {finding.reason}"
        raise ApiProblem(400, "dangerous_operation", detail, (FieldError("code", detail),))
    return finding
