"""Servers of our own to measure: one as it is shipped, one without pools, services and kept artefacts."""

import contextlib
import http.client
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from daemon.sandbox.errors import OurFault

from .observe import Served

START_S = 60.0
COLD = {"CELLBLOCK_POOLS": "false", "CELLBLOCK_SERVICES": "false", "CELLBLOCK_ARTIFACT_MEMORY_MB": "0"}


class CannotBench(OurFault):
    """A server that was to be measured did not start; the text says why."""


@contextlib.contextmanager
def served(name: str, **environment: str) -> Iterator[Served]:
    """A `cellblock serve` that lives as long as the body. Raises CannotBench."""
    with tempfile.TemporaryDirectory(prefix="cellblock-bench-") as state, tempfile.TemporaryFile() as log:
        os.chmod(state, 0o711)
        variables = {
            **os.environ, "CELLBLOCK_INSTANCE": f"bench-{name}-{os.getpid()}", "CELLBLOCK_STATE": f"{state}/state",
            "CELLBLOCK_SELF_TEST_S": "3600", **environment,
        }  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "daemon", "serve", "--port", "0"],
            env=variables, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            found = re.search(r"http://[\d.]+:\d+", process.stdout.readline())
            if found is None or not _is_healthy_in_time(found[0]):
                log.seek(0)
                raise CannotBench(f"the {name} server did not start: {log.read().decode()[-2000:]}")
            yield Served(found[0], process.pid, variables["CELLBLOCK_INSTANCE"])
        finally:
            process.terminate()
            process.wait()


def _is_healthy_in_time(url: str) -> bool:
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s:
        with contextlib.suppress(OSError):
            connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return True
        time.sleep(0.1)
    return False
