"""What clients are tested against: a real server, and a second one with tokens, one slot and a unix socket."""

import collections.abc
import pathlib

import pytest

from daemon.api import tokens
from tests.server import Server, readable

SECRET = tokens.PREFIX + "7" * 64
WATCHER = tokens.PREFIX + "8" * 64


@pytest.fixture(scope="session")
def strict(tmp_path_factory: pytest.TempPathFactory) -> collections.abc.Iterator[Server]:
    """One program at a time, nobody waits; SECRET may run and grade, WATCHER may do neither."""
    folder = readable(tmp_path_factory.mktemp("strict"))
    file = folder / "tokens.toml"
    file.write_text(_table("one", SECRET, '["run", "grade"]') + _table("two", WATCHER, '["watch"]'))
    file.chmod(0o644)
    settings = {"languages": ["python"], "tokens_file": file, "runs_at_once": 1, "queue": 0}
    with Server(unix_socket=folder / "http.sock", **settings) as server:
        yield server


def _table(name: str, token: str, scopes: str) -> str:
    return f'[[tokens]]\nid = "{name}"\nhash = "{tokens.hash_of(token)}"\nscopes = {scopes}\n'


@pytest.fixture
def socket_url(strict: Server) -> str:
    return f"unix:{pathlib.Path(strict.environment['CELLBLOCK_UNIX_SOCKET'])}"
