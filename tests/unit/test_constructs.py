"""Forbidden constructs are found in code, and never in comments, strings or longer words."""

import asyncio
import collections.abc
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import time

import psutil
import pytest

from daemon.toolchain import registry
from daemon.validation.constructs import Constructs, rules_of
from daemon.validation.matching import Finding, search

SHIPPED = registry.load([pathlib.Path(__file__).parents[2] / "toolchains"])


def find(language: str, code: str) -> Finding | None:
    toolchain = SHIPPED.find(language)
    assert toolchain.lexer is not None
    return search(toolchain.lexer, code, rules_of(toolchain.forbidden))


@pytest.mark.parametrize(
    ("language", "code", "line"),
    [
        ("python", "import socket\ns = socket.create_connection(('example.org', 80))", 2),
        ("python", 'import os, socket\n\ns = socket.create_connection(\n  ("x", 80))', 3),
        ("python", "import urllib.request\nurllib.request.urlopen('http://example.org')", 2),
        ("python", "from urllib import parse, request\nprint(request.urlopen('https://x'))", 2),
        ("python", "from urllib.request import urlopen\nwith urlopen('http://x') as page: pass", 2),
        ("python", "import smtplib\nif True:\n    smtplib.SMTP(\n'x')", 3),
        ("typescript", "import * as http from 'node:http';\nhttp.get('http://x')", 2),
        ("typescript", "// x\nconst https = require('https');\nhttps.request(`https://x`)", 3),
        ("typescript", 'const http = await import(`http`); http.get("http://x")', 1),
        ("rust", 'use std::net::TcpStream;\nfn main() {\n    let s = TcpStream::connect("x:1");\n}', 3),
        ("rust", 'fn main() { let s = std::net::TcpStream::connect("x:1"); }', 1),
    ],
)
def test_what_is_forbidden_is_found_on_its_line(language: str, code: str, line: int) -> None:
    finding = find(language, code)
    assert finding is not None
    assert finding.line == line
    assert finding.reason == "there is no network in the jail"


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", "import socket, ssl, http.client, urllib.request\nprint(http.client.responses[404])"),
        ("python", "import socket\none, other = socket.socketpair()"),
        ("python", "import urllib.request; urllib.request.urlopen('data:text/plain,hi')"),
        ("python", "import sqlite3, socket; db = sqlite3.connect(':memory:'); graph.connect((0, 0), (0, 1))"),
        ("python", "import socket  # socket.create_connection(('x', 1))"),
        ("python", "import socket\nx = 'socket.create_connection((1'"),
        ("python", '"""\nimport socket\nsocket.create_connection((1))\n"""'),
        ("python", "class smtplib:\n    SMTP = print\nsmtplib.SMTP('mine')"),
        ("python", "from data import requests\nrequests.get('a')"),
        ("python", "import os\nos.system('clear')"),
        ("python", "import os, sys, subprocess\nopen('x'); print(os.environ)"),
        ("python", "import socket\nf'{x} socket.create_connection((1))'"),
        ("python", "class Client:\n    def urlopen(self): pass\nwith Client().urlopen() as c: pass"),
        ("typescript", "// import http from 'http'; http.get('http://x')"),
        ("typescript", 'import { STATUS_CODES } from "http"; console.log(STATUS_CODES[404])'),
        ("typescript", "import http from 'http'; http.get({ socketPath: '/tmp/x' }, done)"),
        ("typescript", 'import net from "node:net"; net.connect("/tmp/pipe"); require("fs")'),
        ("typescript", 'const http = { get: (x: string) => x }; http.get("http://mine")'),
        ("python", "import socket; s = socket.socket(); s.bind(('', 8000))"),
        ("rust", "use std::net::TcpListener; fn main() { TcpListener::bind(address); }"),
        ("rust", "use std::net::{IpAddr, Ipv4Addr}; fn main() { Ipv4Addr::LOCALHOST; }"),
        ("rust", 'mod net { pub struct TcpStream; } use net::TcpStream; fn main() { TcpStream::connect("a") }'),
        ("rust", '// use std::net::TcpStream;\nfn main() { println!("std::net TcpStream::connect("); }'),
        ("rust", "use std::env; use std::process::Command;"),
    ],
)
def test_what_only_looks_like_it_is_allowed(language: str, code: str) -> None:
    assert find(language, code) is None


@pytest.fixture
async def constructs() -> collections.abc.AsyncIterator[Constructs]:
    async with Constructs(SHIPPED, DEADLINE_S) as running:
        yield running


PYTHON = SHIPPED.find("python")
DEADLINE_S, LONG_S = 0.2, 30.0
LEXER = "daemon.validation.lexer_process"
REFUSED = "import socket; socket.create_connection(('x', 1))"
SLOW = REFUSED + "\nx = " + "[" * 2_000_000


def lexers() -> list[psutil.Process]:
    """Of this process, those that are alive."""
    return [one for one in psutil.Process().children() if LEXER in one.cmdline()]


async def eventually(holds: collections.abc.Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG_S):
        while not holds():  # noqa: ASYNC110 (nothing tells of another's process)
            await asyncio.sleep(0.01)


async def found_in_the_end(constructs: Constructs, code: str) -> Finding:
    """What is found once the worker is there again: its replacement takes some tenths of a second."""
    for _ in range(300):
        finding = await constructs.find(PYTHON, code)
        if finding is not None:
            return finding
        await asyncio.sleep(0.1)
    raise AssertionError("never checked again")


async def test_sources_that_come_together_are_all_checked(constructs: Constructs) -> None:
    found = await asyncio.gather(*(constructs.find(PYTHON, REFUSED) for _ in range(4)))
    assert all(found)


@pytest.mark.threat("U5")
async def test_a_source_that_takes_too_long_to_lex_is_allowed_and_later_ones_are_checked(
    constructs: Constructs,
) -> None:
    assert await constructs.find(PYTHON, REFUSED) is not None
    assert await constructs.find(PYTHON, SLOW) is None
    assert await found_in_the_end(constructs, REFUSED)


@pytest.mark.threat("U5")
async def test_nobody_waits_long_for_a_lexer_that_is_busy(constructs: Constructs) -> None:
    """Behind four slow sources: their deadlines, and the starts of workers, would be most of two seconds."""
    slow = [asyncio.create_task(constructs.find(PYTHON, SLOW)) for _ in range(4)]
    await asyncio.sleep(0)
    began = time.monotonic()
    assert await constructs.find(PYTHON, REFUSED) is None
    assert time.monotonic() - began < 0.3
    await asyncio.gather(*slow)


async def test_a_caller_that_is_gone_leaves_the_lexer_in_step(constructs: Constructs) -> None:
    """Its source is still being lexed; the next one is neither mixed up with it nor takes the blame for its time."""
    gone = asyncio.create_task(constructs.find(PYTHON, REFUSED + "\n" + "a = 1;" * 6000))
    await asyncio.sleep(0.01)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    finding = await found_in_the_end(constructs, "\n" + REFUSED)
    assert finding.line == 2


KILLED = """
import asyncio, os, pathlib, signal
from daemon.toolchain import registry
from daemon.validation.constructs import Constructs

async def main():
    async with Constructs(registry.load([pathlib.Path("toolchains")]), 1.0):
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
ROOT = pathlib.Path(__file__).parents[2]


def test_a_killed_process_takes_its_lexer_along_and_says_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGKILL, "", "")  # read until nobody has it open


async def test_a_lexer_that_dies_while_nobody_uses_it_is_replaced_at_once(constructs: Constructs) -> None:
    """It stayed a zombie, and the next source went unread."""
    assert await constructs.find(PYTHON, REFUSED) is not None
    died = lexers()[0]
    died.kill()
    await eventually(lambda: not died.is_running() and bool(lexers()))
    assert await found_in_the_end(constructs, REFUSED)
    assert constructs.counts["late"] == 0


async def test_a_source_that_comes_just_after_the_lexer_died_is_allowed(constructs: Constructs) -> None:
    pidfd = os.pidfd_open(lexers()[0].pid)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    select.select([pidfd], [], [])  # it is dead, and nothing of ours has heard of it
    os.close(pidfd)
    await asyncio.sleep(0)
    assert await constructs.find(PYTHON, REFUSED) is None
    assert await found_in_the_end(constructs, REFUSED)


async def test_whoever_waits_when_everything_ends_is_not_left_waiting() -> None:
    async with Constructs(SHIPPED, LONG_S) as constructs:
        waiting = asyncio.create_task(constructs.find(PYTHON, REFUSED))
        await asyncio.sleep(0)
    async with asyncio.timeout(LONG_S):
        await asyncio.gather(waiting, return_exceptions=True)


ORPHAN = """
import os, subprocess, sys
worker = "import os, sys; from daemon.validation import lexer_process; os.read(0, 1); lexer_process.main(int(sys.argv[1]), []); print('over')"
subprocess.Popen([sys.executable, "-c", worker, str(os.getpid())], stdin=subprocess.PIPE)
os._exit(0)  # the worker, which comes to ask for a signal only now, reads the end of its input
"""


def test_a_lexer_whose_parent_died_while_it_started_ends() -> None:
    """It was left for ever, with its memory, by an HTTP process that was killed young."""
    done = subprocess.run([sys.executable, "-c", ORPHAN], capture_output=True, text=True, cwd=ROOT, check=True)
    assert (done.stdout, done.stderr) == ("over\n", "")


async def test_a_source_that_needs_too_much_memory_is_allowed(capfd: pytest.CaptureFixture[str]) -> None:
    async with Constructs(SHIPPED, LONG_S) as constructs:
        lexer = lexers()[0]
        lexer.rlimit(psutil.RLIMIT_DATA, (most := lexer.memory_info().data + (1 << 20), most))
        assert await constructs.find(PYTHON, REFUSED + "\n" + "[" * 200_000) is None
        assert json.loads(capfd.readouterr().err)["error"] == "MemoryError"
        assert await found_in_the_end(constructs, REFUSED)
