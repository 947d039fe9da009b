"""Schemathesis finds no request to which the answer is not what the API's document says."""

import os
import pathlib
import subprocess
import sys

import pytest

from tests.server import Server

FOLDER = pathlib.Path(__file__).parents[1] / "api_fuzz"
LINE_MAX = 500
FUZZ_S = 600  # a minute, on two cores that have nothing else to do
COMMAND = pathlib.Path(sys.executable).parent / "schemathesis"


@pytest.mark.slow
def test_answers_are_what_the_document_says(repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Valid requests are accepted and invalid ones refused, with a documented status, media type, headers and body."""
    environment = {**os.environ, "PYTHONPATH": str(repository), "SCHEMATHESIS_HOOKS": "tests.api_fuzz.hooks"}
    with Server() as server:
        address = f"http://127.0.0.1:{server.port}/openapi.json"
        command = [COMMAND, "--config-file", FOLDER / "schemathesis.toml", "run", address, "--no-color"]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=FUZZ_S
        )
        told = [line[:LINE_MAX] for line in (done.stdout + done.stderr).splitlines()]  # a request may have megabytes
        assert done.returncode == 0, "\n".join(told)
        assert server.is_healthy()
    assert "internal_error" not in server.log and '"defect"' not in server.log
