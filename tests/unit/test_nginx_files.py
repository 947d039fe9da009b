"""The files of nginx/ agree with cellblock's own settings, errors and units."""

import json
import pathlib
import re
import subprocess

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


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("port = 1", "port = 1\nhost = 2\n"),
        ("port = 1\n\n[run]\nx = 3\n", "port = 1\n\nhost = 2\n[run]\nx = 3\n"),
        ("host = 4\n", "host = 4\n"),
    ],
)
def test_a_setting_is_written_once_and_into_no_table(before: str, after: str, tmp_path: pathlib.Path) -> None:
    settings = tmp_path / "cellblock.toml"
    settings.write_text(before)
    (function,) = re.findall(r"^set_once\(\) \{\n.*?^\}$", INSTALL, re.MULTILINE | re.DOTALL)
    script = f"set -euo pipefail\nsay() {{ :; }}\nsettings=$1\n{function}\nset_once host 2\n"
    subprocess.run(["bash", "-c", script, "bash", settings], check=True)
    assert settings.read_text() == after
