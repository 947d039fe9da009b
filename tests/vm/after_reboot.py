"""What tests/vm/test_units.py left, in the same machine after it was booted again. No test_ in the name: it runs only then."""

import json
import pathlib
import urllib.request

import pytest

from tests.vm.test_units import KEEPER, TOKEN, URL, main_pid

pytestmark = pytest.mark.vm


def ask(path: str, body: dict[str, str] | None = None) -> dict[str, object]:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {TOKEN.read_text()}", "Content-Type": "application/json"}
    answer: dict[str, object] = json.load(urllib.request.urlopen(urllib.request.Request(f"{URL}{path}", data, headers)))
    return answer


def test_the_service_has_started_by_itself_and_runs_programs() -> None:
    assert int(main_pid(KEEPER)) > 0
    assert ask("/execute", {"language": "python", "code": "print(6 * 7)"})["output"] == "42\n"


def test_tokens_problems_and_settings_are_as_before() -> None:
    assert ask("/problems/sum")["id"] == "sum"
    assert "drain_s = 120" in pathlib.Path("/etc/cellblock/cellblock.toml").read_text()
