"""Forbidden constructs are found in code, and never in comments, strings or longer words."""

import asyncio
import collections.abc
import pathlib
import time

import pytest

from daemon.toolchain import registry
from daemon.validation.constructs import Constructs, Finding, search

SHIPPED = registry.load([pathlib.Path(__file__).parents[2] / "toolchains"])


def find(language: str, code: str) -> Finding | None:
    toolchain = SHIPPED.find(language)
    assert toolchain.lexer is not None
    return search(toolchain.lexer, code, tuple((rule.tokens, rule.reason) for rule in toolchain.forbidden))


@pytest.mark.parametrize(
    ("language", "code", "line"),
    [
        ("python", "import socket", 1),
        ("python", "import os\nimport json, socket as s", 2),
        ("python", "\n\nfrom socket import socket", 3),
        ("python", "import urllib.request", 1),
        ("python", "from urllib import parse, request", 1),
        ("python", "if True:\n    os.system(\n'ls')", 2),
        ("typescript", 'import net from "net";', 1),
        ("typescript", "import * as h from 'node:http';", 1),
        ("typescript", "// x\nconst t = require('tls');", 2),
        ("typescript", "const d = await import(`dgram`);", 1),
        ("rust", "use std::net::TcpStream;", 1),
        ("rust", 'fn main() {\n    let s = TcpStream::connect("x");\n}', 2),
    ],
)
def test_what_is_forbidden_is_found_on_its_line(language: str, code: str, line: int) -> None:
    finding = find(language, code)
    assert finding is not None
    assert finding.line == line
    assert finding.reason == "there is no network in the jail" or "shell" in finding.reason


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", "# import socket"),
        ("python", "x = 'import socket'"),
        ("python", '"""\nimport socket\n"""'),
        ("python", "import socketserver"),
        ("python", "websocket = 1; import os"),
        ("python", "import os\nsocket = 5"),
        ("python", "import requests_html_like"),
        ("python", "import os, sys, subprocess\nopen('x'); print(os.environ)"),
        ("python", "f'{x} import socket'"),
        ("typescript", "// import net from 'net'"),
        ("typescript", 'const s = "from net";'),
        ("typescript", 'import fs from "fs"; process.stdin; require("fs")'),
        ("typescript", 'const label = "http";'),
        ("rust", "// use std::net::TcpStream;"),
        ("rust", 'println!("std::net::TcpStream");'),
        ("rust", "use std::env; use std::process::Command;"),
    ],
)
def test_what_only_looks_like_it_is_allowed(language: str, code: str) -> None:
    assert find(language, code) is None


@pytest.fixture
async def constructs() -> collections.abc.AsyncIterator[Constructs]:
    async with Constructs(SHIPPED) as running:
        yield running


PYTHON = SHIPPED.find("python")
SLOW = "import socket\n" + "x = " + "[" * 2_000_000


async def found_in_the_end(constructs: Constructs, code: str) -> Finding:
    """What is found once the worker is there again: its replacement takes some tenths of a second."""
    for _ in range(300):
        finding = await constructs.find(PYTHON, code)
        if finding is not None:
            return finding
        await asyncio.sleep(0.1)
    raise AssertionError("never checked again")


async def test_sources_that_come_together_are_all_checked(constructs: Constructs) -> None:
    found = await asyncio.gather(*(constructs.find(PYTHON, "import socket") for _ in range(4)))
    assert all(found)


async def test_a_source_that_takes_too_long_to_lex_is_allowed_and_later_ones_are_checked(
    constructs: Constructs,
) -> None:
    assert await constructs.find(PYTHON, "import socket") is not None
    assert await constructs.find(PYTHON, SLOW) is None
    assert await found_in_the_end(constructs, "import socket")


async def test_nobody_waits_long_for_a_lexer_that_is_busy(constructs: Constructs) -> None:
    """Behind four slow sources: their deadlines, and the starts of workers, would be most of two seconds."""
    slow = [asyncio.create_task(constructs.find(PYTHON, SLOW)) for _ in range(4)]
    await asyncio.sleep(0)
    began = time.monotonic()
    assert await constructs.find(PYTHON, "import socket") is None
    assert time.monotonic() - began < 0.3
    await asyncio.gather(*slow)


async def test_a_caller_that_is_gone_leaves_the_lexer_in_step(constructs: Constructs) -> None:
    """Its source is still being lexed; the next one is neither mixed up with it nor takes the blame for its time."""
    gone = asyncio.create_task(constructs.find(PYTHON, "import socket\n" + "a = 1;" * 6000))
    await asyncio.sleep(0.01)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    finding = await found_in_the_end(constructs, "\nimport socket")
    assert finding.line == 2
