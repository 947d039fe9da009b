"""`cellblock run --url`: what a server runs is shown as what this host runs."""

import json
import os
import pathlib
import signal
import socket
import subprocess

import pytest

from tests.clients.conftest import SECRET
from tests.server import COMMAND, Server, until

PROGRAMS = {
    "code.py": "import sys\nprint('out')\nprint('err', file=sys.stderr)\nsys.exit(7)",
    "time.py": "while True: pass",
    "memory.py": "x = [bytearray(1 << 20) for _ in range(999)]",
    "abort.py": "import os; os.abort()",
    "bytes.py": "import sys\nsys.stdout.buffer.write(bytes(range(256)))\nsys.stderr.buffer.write(b'\\xff')",
    "input.py": "print(input()[::-1])",
    "error.rs": "fn main() { wrong }",
    "unknown.cob": "",
}
STATUSES = {"code.py": 7, "time.py": 124, "memory.py": 137, "abort.py": 134, "bytes.py": 0, "input.py": 0, "error.rs": 65,
            "unknown.cob": 125}  # fmt: skip


def run(*arguments: object, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    """Exit status, standard output, standard error."""
    done = subprocess.run([COMMAND, "run", *map(str, arguments)], input=stdin, capture_output=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def programs(tmp_path: pathlib.Path) -> pathlib.Path:
    for name, code in PROGRAMS.items():
        (tmp_path / name).write_text(code)
    return tmp_path


@pytest.fixture
def by_server(cellblock: Server) -> list[str]:
    return ["--url", f"http://127.0.0.1:{cellblock.port}"]


def arguments(name: str) -> list[str]:
    return {"time.py": ["--timeout", "0.3"], "input.py": ["--stdin", "-"]}.get(name, [])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["time.py", "memory.py", "abort.py", "error.rs", "unknown.cob"])
def test_a_server_and_this_host_are_shown_alike(programs: pathlib.Path, by_server: list[str], name: str) -> None:
    here = run(programs / name, *arguments(name), stdin=b"live")
    assert run(programs / name, *arguments(name), *by_server, stdin=b"live") == here
    assert here[0] == STATUSES[name]


@pytest.mark.parametrize("name", ["code.py", pytest.param("bytes.py", marks=pytest.mark.slow)])
def test_the_exit_status_is_the_programs_or_tells_the_limit(
    programs: pathlib.Path, by_server: list[str], name: str
) -> None:
    status, output, errors = run(programs / name, *arguments(name), *by_server)
    assert status == STATUSES[name], errors
    assert output == {"code.py": b"out\n", "bytes.py": bytes(range(256))}.get(name, b"")
    assert {"code.py": b"err\n", "bytes.py": b"\xff"}.get(name, b"") in errors


@pytest.mark.slow
def test_the_answer_is_printed_where_it_is_asked_for(programs: pathlib.Path, by_server: list[str]) -> None:
    status, output, _ = run(programs / "input.py", "--stdin", "-", "--json", *by_server, stdin="lévé".encode())
    found = json.loads(output)
    assert (status, found["stdout"], found["reason"], found["success"]) == (0, "évél\n", "exited", True)
    assert "output_base64" not in found and "warnings" not in found


@pytest.mark.slow
def test_a_token_is_read_from_a_file(programs: pathlib.Path, socket_url: str) -> None:
    file = programs / "token"
    file.write_text(f"{SECRET}\n")
    command = [programs / "input.py", "--language", "python", "--stdin", "-", "--url", socket_url]
    assert run(*command, "--token-file", file, stdin=b"live") == (0, b"evil\n", b"")
    assert run(*command) == (125, b"", b"cellblock: This needs a token: Authorization: Bearer cb_\xe2\x80\xa6\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--timeout", "999"], b"timeout: must be above 0 and at most 60 seconds"),
        (["--timeout", "inf"], b"--timeout must be a finite number"),
        (["--language", "cobol"], b"Unsupported language: cobol"),
        (["--token-file", "/dev/null"], b"/dev/null: must hold a token in one line"),
        (["--token-file", "/nonexistent"], b"/nonexistent: No such file"),
    ],
)
def test_what_is_refused_is_one_line_and_status_125(
    programs: pathlib.Path, by_server: list[str], change: list[str], said: bytes
) -> None:
    status, output, errors = run(programs / "code.py", *by_server, *change)
    assert (status, output, errors.count(b"\n")) == (125, b"", 1) and said in errors


@pytest.mark.slow
def test_ctrl_c_is_status_130_and_ends_the_program_on_the_server(
    programs: pathlib.Path, by_server: list[str], cellblock: Server, leaves_nothing: None
) -> None:
    def running() -> int:
        return int(cellblock.request("GET", "/health").json["queue"]["running"])

    command = [COMMAND, "run", programs / "time.py", "--timeout", "60", *by_server]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        until(running, 10)
        process.send_signal(signal.SIGINT)
        assert (*process.communicate(timeout=10), process.returncode) == (b"", b"", 130)
    until(lambda: not running(), 5, "the slot is free again")


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_an_answer_that_cannot_be_written_is_status_125(
    programs: pathlib.Path, by_server: list[str], more: list[str]
) -> None:
    with open("/dev/full", "w") as full:
        command = [COMMAND, "run", programs / "code.py", *by_server, *more]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (125, b"cellblock: standard output: No space left on device\n")


@pytest.mark.slow
def test_a_server_that_is_not_there_is_told(programs: pathlib.Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        status, _, errors = run(programs / "code.py", "--url", url)
    assert (status, errors) == (125, f"cellblock: {url}: [Errno 111] Connection refused\n".encode())
    for url in ("localhost:8000", "http://a:b", "http://"):
        status, _, errors = run(programs / "code.py", "--url", url)
        assert (status, errors.count(b"\n")) == (125, 1), errors


@pytest.mark.slow
def test_what_is_no_text_cannot_be_sent(programs: pathlib.Path, by_server: list[str]) -> None:
    status, _, errors = run(programs / "input.py", "--stdin", "-", *by_server, stdin=b"\xff")
    assert (status, errors) == (125, b"cellblock: standard input is not UTF-8 (byte 0), which a server must be sent\n")


def test_the_server_is_asked_without_privilege(programs: pathlib.Path, by_server: list[str]) -> None:
    """Who has a server needs no root, no settings, no control group."""
    for folder in (programs, *programs.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    command = [COMMAND, "run", programs / "code.py", *by_server]
    nobody = {"user": 65534, "group": 65534, "extra_groups": []}
    done = subprocess.run(command, capture_output=True, check=False, env={"PATH": os.environ["PATH"]}, **nobody)
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out\n", b"err\n")
