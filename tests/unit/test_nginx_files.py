"""The files of nginx/ agree with cellblock's own settings, errors and units."""

import collections.abc
import json
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from daemon.api.errors import TITLES
from daemon.settings import MB, Settings
from tests.nginx import shared_folder

ROOT = pathlib.Path(__file__).parents[2]
SITE, UPSTREAM, PROBLEMS, NODES, README = (
    (ROOT / "nginx" / name).read_text()
    for name in ("site.conf", "upstream.conf", "problems.conf", "nodes.conf", "README.md")
)
INSTALL = (ROOT / "nginx/install").read_text()
TEXTS = re.findall(r"^    (default|\d{3}) '(.*)';$", PROBLEMS, re.MULTILINE)


def default(name: str) -> int:
    value: int = Settings.model_fields[name].default
    return value


def numbers(pattern: str, text: str) -> set[int]:
    return {int(found) for found in re.findall(pattern, text)}


@pytest.mark.parametrize(("status", "text"), TEXTS, ids=[status for status, _ in TEXTS])
def test_every_text_is_a_problem(status: str, text: str) -> None:
    """RFC 9457, with the titles that cellblock itself has, and in the README's table."""
    problem = json.loads(text.replace("$status", "418"))
    assert list(problem) == ["type", "title", "status", "detail", "code"]
    assert problem["type"] == f"urn:cellblock:problem:{problem['code']}"
    assert problem["title"] == TITLES.get(problem["status"], problem["title"])
    if status != "default":
        assert problem["status"] == int(status)
        assert f"`{problem['code']}`" in README


def test_every_status_with_a_text_of_its_own_is_caught() -> None:
    errors = (ROOT / "nginx/errors.conf").read_text()
    for status, _ in TEXTS:
        assert status in (*re.findall(r"\d{3}", errors), "default")


def test_bodies_may_be_a_little_larger_than_cellblock_allows() -> None:
    small, large = sorted(numbers(r"client_max_body_size (\d+)m;", SITE))
    assert default("body_bytes_max") < small * MB <= default("body_bytes_max") + MB
    assert large == default("package_mb_max") + 1


def test_limits_of_an_address_are_cellblocks_own() -> None:
    assert numbers(r"rate=(\d+)r/s", SITE) == {default("requests_per_minute_of_address") // 60}
    assert numbers(r"limit_conn cellblock_requests_at_once (\d+);", SITE) == {default("queue")}


def test_nginx_keeps_nobody_from_a_node_for_what_others_asked_of_it() -> None:
    """It knows no clients: neither how much is under way nor what was refused may shut a node for all."""
    servers = re.findall(r"^    server \S+ (.*);$", NODES, re.MULTILINE)
    assert servers == ["max_fails=0"] * 6


def test_nginx_connects_to_the_path_that_systemd_listens_on() -> None:
    assert set(re.findall(r"server unix:(\S+);", UPSTREAM)) <= set(
        re.findall(r"^ListenStream=(/.+)$", (ROOT / "systemd/cellblock.socket").read_text(), re.MULTILINE)
    )


def test_a_run_may_be_given_to_one_other_node() -> None:
    assert numbers(r"proxy_next_upstream_tries (\d+);", SITE) == {2}


def install_settings(folder: pathlib.Path, before: str, variables: dict[str, str]) -> tuple[int, str]:
    """What nginx/install does to a settings file that says `before`, with tokens in `folder` where the service has these
    variables: its exit status, and the file afterwards, with FOLDER for `folder`."""
    settings, kept = folder / "cellblock.toml", folder / "kept"
    kept.mkdir()
    for path in (settings, kept / "cellblock.toml"):
        path.write_text(before)
    functions = re.findall(r"^(?:ask|set_unless|take_back)\(\) \{\n.*?^\}$", INSTALL, re.MULTILINE | re.DOTALL)
    conditions = re.findall(r"^(?:has_tokens|reads_tokens|trusts_nginx)='.*'", INSTALL, re.MULTILINE)
    (calls,) = re.findall(r'^set_unless "\$.*\n.*\n.*set_unless "\$.*$', INSTALL, re.MULTILINE)
    assert (len(functions), len(conditions)) == (3, 3)
    (kept / "site").mkdir()
    shutil.copy(ROOT / "nginx/upstream.conf", kept / "site")
    given = 'settings=$1 before=$2 site=$2/site enabled=$2/enabled tokens=$3 python=$4 user=cellblock; shift 4; variables=("$@")'
    script = "\n".join(("set -euo pipefail; say() { :; }", given, *functions, *conditions, calls))
    told = [f"CELLBLOCK_SETTINGS={settings}", *(f"{name}={value}" for name, value in variables.items())]
    done = subprocess.run(
        ["bash", "-c", script, "bash", settings, kept, folder / "tokens.toml", sys.executable, *told],
        capture_output=True, check=False,
    )  # fmt: skip
    print(done.stderr.decode())
    return done.returncode, settings.read_text().replace(str(folder), "FOLDER")


@pytest.fixture
def with_tokens() -> collections.abc.Iterator[pathlib.Path]:
    """A folder that the service's user may pass into, with a file of tokens in it."""
    with shared_folder() as folder:
        (pathlib.Path(folder) / "tokens.toml").touch()
        yield pathlib.Path(folder)


def as_credential(folder: pathlib.Path) -> dict[str, str]:
    """The variables of a service to which systemd gives these tokens."""
    (folder / "tokens.toml").rename(folder / "tokens")
    return {"CREDENTIALS_DIRECTORY": str(folder)}


@pytest.mark.slow
def test_the_installer_writes_what_cellblock_does_not_have_and_into_no_table(with_tokens: pathlib.Path) -> None:
    before = "# Comment.\n\n[extensions]\npy = 'pypy'"
    written = 'trusted_proxies = ["unix"]\ntokens_file = "FOLDER/tokens.toml"'
    after = f"# Comment.\n{written}\n\n[extensions]\npy = 'pypy'\n"
    assert install_settings(with_tokens, before, {}) == (0, after)


@pytest.mark.slow
def test_the_installer_writes_nothing_that_cellblock_has(with_tokens: pathlib.Path) -> None:
    """A tokens_file would go before the credential, and a key that is indented or quoted is one all the same."""
    before = "  'trusted_proxies' = ['unix']\n"
    assert install_settings(with_tokens, before, as_credential(with_tokens)) == (0, before)


@pytest.mark.slow
def test_the_installer_takes_back_tokens_that_only_root_can_read(with_tokens: pathlib.Path) -> None:
    (with_tokens / "tokens.toml").chmod(0o600)
    assert install_settings(with_tokens, "port = 1\n", {}) == (1, "port = 1\n")


@pytest.mark.slow
def test_the_installer_takes_back_what_cellblock_refuses(with_tokens: pathlib.Path) -> None:
    """Where nginx is not trusted all its clients would be one, without limits: it ends, and does not stay silent."""
    before = 'trusted_proxies = ["10.0.0.0/8"]\n'
    assert install_settings(with_tokens, before, as_credential(with_tokens)) == (1, before)
