"""The files of nginx/ agree with cellblock's own settings, errors and units."""

import json
import pathlib
import re
import subprocess
import sys

import pytest

from daemon.api.errors import TITLES
from daemon.settings import MB, Settings

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


TOKENS_LINE = 'tokens_file = "/etc/cellblock/tokens.toml"\n'
TRUST_LINE = 'trusted_proxies = ["unix"]\n'
BOTH = TRUST_LINE + TOKENS_LINE


def install_settings(folder: pathlib.Path, before: str, variables: dict[str, str]) -> tuple[int, str]:
    """What nginx/install does to a settings file that says `before`, where the service has these variables: its exit
    status, and the file afterwards."""
    settings, kept = folder / "cellblock.toml", folder / "kept"
    kept.mkdir()
    for path in (settings, kept / "cellblock.toml"):
        path.write_text(before)
    functions = re.findall(r"^(?:ask|set_unless|take_back)\(\) \{\n.*?^\}$", INSTALL, re.MULTILINE | re.DOTALL)
    conditions = re.findall(r"^(?:has_tokens|trusts_nginx)='.*'", INSTALL, re.MULTILINE)
    calls = re.findall(r'set_unless "\$.*$', INSTALL, re.MULTILINE)
    assert (len(functions), len(conditions), len(calls)) == (3, 2, 2)
    tokens = re.findall(r"^tokens=.*$", INSTALL, re.MULTILINE)
    given = 'settings=$1 before=$2 site=$2/site enabled=$2/enabled python=$3; shift 3; variables=("$@"); say() { :; }'
    script = "\n".join(("set -euo pipefail", given, *tokens, *functions, *conditions, *calls))
    told = [f"CELLBLOCK_SETTINGS={settings}", *(f"{name}={value}" for name, value in variables.items())]
    done = subprocess.run(
        ["bash", "-c", script, "bash", settings, kept, sys.executable, *told], capture_output=True, check=False
    )
    return done.returncode, settings.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("# Comment.\n\n[extensions]\npy = 'pypy'", f"# Comment.\n{BOTH}\n[extensions]\npy = 'pypy'\n"),
        ("  'tokens_file' = '/t'\n", f"{TRUST_LINE}  'tokens_file' = '/t'\n"),
    ],
)
def test_the_installer_writes_what_cellblock_does_not_have_and_into_no_table(
    before: str, after: str, tmp_path: pathlib.Path
) -> None:
    assert install_settings(tmp_path, before, {}) == (0, after)


@pytest.mark.slow
def test_the_installer_writes_nothing_that_the_service_has_from_elsewhere(tmp_path: pathlib.Path) -> None:
    """systemd's credential, which a tokens_file would go before; and the environment."""
    (tmp_path / "tokens").touch()
    variables = {"CREDENTIALS_DIRECTORY": str(tmp_path), "CELLBLOCK_TRUSTED_PROXIES": '["unix"]'}
    assert install_settings(tmp_path, "port = 1\n", variables) == (0, "port = 1\n")


@pytest.mark.slow
def test_the_installer_takes_back_what_cellblock_refuses(tmp_path: pathlib.Path) -> None:
    """Where nginx is not trusted all its clients would be one, without limits: it ends, and does not stay silent."""
    before = 'trusted_proxies = ["10.0.0.0/8"]\n'
    assert install_settings(tmp_path, before, {}) == (1, before)
