"""Forbidden constructs are found in code, and never in comments, strings or longer words."""

import asyncio
import pathlib

import pytest

from daemon.judge.constructs import Constructs, Finding, search
from daemon.toolchain import registry

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


async def test_sources_that_come_together_are_all_checked() -> None:
    async with Constructs() as constructs:
        found = await asyncio.gather(*(constructs.find(SHIPPED.find("python"), "import socket") for _ in range(8)))
    assert all(found)


async def test_a_source_that_takes_too_long_to_lex_is_allowed_and_the_next_is_checked() -> None:
    python = SHIPPED.find("python")
    async with Constructs() as constructs:
        assert await constructs.find(python, "import socket") is not None
        slow = "import socket\n" + "x = " + "[" * 2_000_000
        assert await constructs.find(python, slow) is None
        assert await constructs.find(python, "import socket") is not None
