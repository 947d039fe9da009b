"""`cellblock bench` measures a real server, its own and any other that is named."""

import json
import os
import pathlib
import subprocess
import xml.etree.ElementTree

import pytest

from daemon import cli
from daemon.bench import dialects
from daemon.toolchain import registry
from tests import posture
from tests.server import COMMAND, LANGUAGES, Server

SHIPPED = pathlib.Path(__file__).parents[2] / "toolchains"
COMPILED = {"rust", "typescript"}


def test_the_command_line_knows_every_dialect() -> None:
    assert set(cli.DIALECTS) == set(dialects.DIALECTS)


@pytest.mark.slow
def test_it_measures_a_server_that_is_named(cellblock: Server, tmp_path: pathlib.Path) -> None:
    done = subprocess.run(
        [COMMAND, "bench", "--url", f"http://127.0.0.1:{cellblock.port}", "--runs", "2", "--seconds", "0.2",
         "--concurrency", "1,2", *(f"--language={name}" for name in LANGUAGES), "--json", tmp_path / "b.json", "--plot", tmp_path / "b.svg"],
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for word in ("hello", "bare", "p99", "per second"):
        assert word in done.stdout
    found = json.loads((tmp_path / "b.json").read_text())
    counts = {}
    for latency in found["latencies"]:
        counts[latency["language"], latency["variant"], latency["asked"]] = len(latency["samples_ms"])
        assert min(latency["samples_ms"]) > 0
    new = dict.fromkeys(((name, variant, "new") for name in LANGUAGES for variant in ("cellblock", "bare")), 2)
    in_a_row = dict.fromkeys(((name, "cellblock", "five in a row") for name in LANGUAGES), 5)
    seen = dict.fromkeys(((name, "cellblock", "seen") for name in COMPILED), 2)
    assert counts == new | in_a_row | seen
    rates = {(rate["language"], rate["variant"], rate["asked"], rate["concurrency"]) for rate in found["throughputs"]}
    cores = os.cpu_count() or 1
    assert rates == {
        (name, variant, asked, concurrency)
        for name in LANGUAGES
        for asked in (("new", "seen") if name in COMPILED else ("new",))
        for variant, concurrency in (("cellblock", 1), ("cellblock", 2), ("bare", cores))
    }
    assert xml.etree.ElementTree.parse(tmp_path / "b.svg").getroot().tag.endswith("svg")


@pytest.mark.slow
def test_it_starts_servers_of_its_own_and_leaves_nothing(tmp_path: pathlib.Path) -> None:
    done = subprocess.run(
        [COMMAND, "bench", "--language", "python", "--runs", "2", "--seconds", "0.2", "--concurrency", "1"],
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for words in ("warm", "cold", "five in a row", "CPU milliseconds", "keeper", "machine"):
        assert words in done.stdout
    assert not posture.instance_groups("bench-*")
    assert not list(pathlib.Path("/run/cellblock").glob("bench-*"))


def test_a_server_that_is_not_there_is_one_line() -> None:
    done = subprocess.run(
        [COMMAND, "bench", "--url", "http://127.0.0.1:9", "--runs", "1"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 125
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


@pytest.mark.slow
def test_it_measures_a_server_that_is_named_in_turn_with_its_own(cellblock: Server, tmp_path: pathlib.Path) -> None:
    done = subprocess.run(
        [COMMAND, "bench", "--url", f"http://127.0.0.1:{cellblock.port}", "--own", "--language", "python", "--runs", "2",
         "--seconds", "0.2", "--concurrency", "1", "--json", tmp_path / "b.json"],
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "b.json").read_text())
    assert {latency["variant"] for latency in found["latencies"]} == {"warm", "cellblock", "bare"}
    assert {rate["variant"] for rate in found["throughputs"] if rate["cpu_ms"] is not None} == {"warm"}


def test_its_own_server_goes_beside_one_that_is_named() -> None:
    done = subprocess.run([COMMAND, "bench", "--own"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "--own is for --url" in done.stderr


class Recorded(dialects.GoJudge):
    """Keeps what would be sent: there is no such server here."""

    def __init__(self) -> None:
        self.sent: list[dict[str, object]] = []
        self._left, self._kept = [], {}

    def request(self, method: str, path: str, fields: object = None) -> object:
        assert isinstance(fields, dict)
        self.sent.append(fields["cmd"][0])
        return [{"status": "Accepted", "files": {"stdout": "out"}, "fileIds": {"main": "ID"}}]


RUST = registry.read(SHIPPED / "rust.toml")


def test_go_judge_is_asked_to_compile_and_then_to_run() -> None:
    dialect = Recorded()
    assert dialect.run(RUST, "fn main() {}") == "out"
    compiling, running = dialect.sent
    assert compiling["copyIn"] == {"main.rs": {"content": "fn main() {}"}}
    assert compiling["copyOutCached"] == ["main"]
    assert running["args"] == ["./main"]
    assert running["copyIn"] == {"main": {"fileId": "ID"}}


def test_go_judge_keeps_a_program_that_was_seen_as_a_file() -> None:
    dialect = Recorded()
    for _ in range(3):
        assert dialect.again(RUST, "fn main() {}") == "out"
    assert [command["copyOutCached"] for command in dialect.sent] == [["main"], [], [], []]
