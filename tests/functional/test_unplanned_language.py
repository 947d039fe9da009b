"""A language nobody planned for is one TOML file."""

import json
import os
import pathlib
import subprocess

import pytest

from tests.server import COMMAND, PREFIX, Server, readable

PERL = """
title = "Perl"
aliases = ["pl"]
extensions = ["pl"]
source = "main.pl"
lexer = "perl"
version = ["/usr/bin/perl", "-e", "print $^V"]

[[mounts]]
source = "/usr"
target = "/usr"

[[steps]]
id = "run"
argv = ["/usr/bin/perl", "{source}"]

[[forbidden]]
tokens = ["use IO :: Socket"]
reason = "there is no network in the jail"

[self_test]
code = 'print "six times seven is ", 6 * 7, "\\n";'
output = "six times seven is 42\\n"
"""


@pytest.fixture
def folders(tmp_path: pathlib.Path) -> list[str]:
    folder = readable(tmp_path)
    (folder / "perl.toml").write_text(PERL)
    return [str(next(PREFIX.glob("venv/lib/python3*/site-packages/daemon/share/toolchains"))), str(folder)]


def test_perl_works_through_the_api(folders: list[str]) -> None:
    with Server(toolchain_folders=folders, languages=["perl", "python"]) as server:
        answer = server.execute(
            "pl", 'my @lines = <STDIN>; print scalar(@lines), " @ARGV\\n"; exit 3;', stdin="a\nb\n", args=["x", "y"]
        )
        assert (answer["output"], answer["exit_code"]) == ("2 x y\n", 3)
        assert answer["language"] == "perl"
        assert answer["version"].startswith("v5.")
        assert server.execute("perl", "my @kept; while (1) { push @kept, 'x' x 1000000; }")["reason"] == "memory_limit"
        refused = server.post({"language": "perl", "code": "use IO::Socket;"})
        assert refused.json["code"] == "dangerous_operation"


def test_perl_works_through_the_command_line(folders: list[str], tmp_path: pathlib.Path) -> None:
    program = tmp_path / "hello.pl"
    program.write_text('print "hello from perl\\n"; exit 4;')
    environment = {**os.environ, "CELLBLOCK_TOOLCHAIN_FOLDERS": json.dumps(folders)}
    done = subprocess.run([COMMAND, "run", program], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("hello from perl\n", 4), done.stderr
