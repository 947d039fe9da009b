"""GET /metrics tells Prometheus what was counted, of every HTTP process, and only whom the setting allows."""

import collections
import collections.abc
import json
import os
import socket

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from daemon.places import Place
from tests.server import START_S, Server, until

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(server: Server, timeout_s: float = 30) -> Samples:
    """Every sample by its name and labels."""
    answer = server.request("GET", "/metrics", timeout_s=timeout_s)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def total(samples: Samples, name: str, **labels: str) -> float:
    """Of all samples that have these labels, and perhaps others."""
    return sum(value for (found, given), value in samples.items() if found == name and labels.items() <= given)


def by(samples: Samples, name: str, label: str) -> dict[str, float]:
    found: collections.Counter[str] = collections.Counter()
    for (sample, labels), value in samples.items():
        if sample == name:
            found[dict(labels)[label]] += value
    return dict(found)


def body(fields: object) -> bytes:
    return json.dumps(fields).encode()


def growth(server: Server, before: Samples, name: str, **labels: str) -> float:
    return total(scrape(server), name, **labels) - total(before, name, **labels)


def until_grown(server: Server, before: Samples, by_count: float, name: str, **labels: str) -> None:
    """A request is counted when its answer is sent, which its client may notice first."""
    until(lambda: growth(server, before, name, **labels) == by_count, 5, f"{name} {labels} has grown by {by_count}")


def test_runs_are_counted_by_language_and_reason(cellblock: Server) -> None:
    before = scrape(cellblock)
    for code in ("print(1)", "print(2)", "raise SystemExit(3)"):
        cellblock.execute("python", code)
    cellblock.execute("python", "while True: pass", timeout=0.1)
    cellblock.execute("rust", "fn main() { this is no Rust }")
    until_grown(cellblock, before, 5, "cellblock_requests_total", path="/execute", status="200")
    assert growth(cellblock, before, "cellblock_runs_total", language="python", reason="exited") == 3
    assert growth(cellblock, before, "cellblock_runs_total", language="python", reason="time_limit") == 1
    assert growth(cellblock, before, "cellblock_runs_total", language="rust", reason="compile_error") == 1


def test_each_phase_of_a_run_is_measured(cellblock: Server) -> None:
    """Once for each run that has it; the sum of `run` is the program's wall time."""
    before = scrape(cellblock)
    seconds = cellblock.execute("rust", 'fn main() { println!("phases of a new program") }')["wall_time"]
    until_grown(cellblock, before, 1, "cellblock_phase_seconds_count", language="rust", phase="answer")
    for phase in ("queue", "acquire", "compile", "run"):
        assert growth(cellblock, before, "cellblock_phase_seconds_count", language="rust", phase=phase) == 1
    run_s = growth(cellblock, before, "cellblock_phase_seconds_sum", language="rust", phase="run")
    assert run_s == pytest.approx(seconds, abs=1e-6)
    assert growth(cellblock, before, "cellblock_artifacts_total", result="missed") == 1


def test_gradings_and_their_tests_are_counted_by_verdict(cellblock: Server) -> None:
    before = scrape(cellblock)
    tests = [{"input": str(number), "expected": "1"} for number in (1, 2, 3)]
    answer = cellblock.request(
        "POST", "/grade", body({"language": "python", "code": "print(input())", "tests": tests}),
        {"Content-Type": "application/json"},
    )  # fmt: skip
    assert answer.json["verdict"] == "WA"
    until_grown(cellblock, before, 1, "cellblock_gradings_total", language="python", verdict="WA")
    assert growth(cellblock, before, "cellblock_graded_tests_total", language="python", verdict="AC") == 1
    assert growth(cellblock, before, "cellblock_graded_tests_total", language="python", verdict="WA") == 2


def test_refusals_are_counted_by_their_cause(cellblock: Server) -> None:
    before = scrape(cellblock)
    cellblock.post({"language": "cobol", "code": ""})
    cellblock.request("GET", "/no/such/path")
    cellblock.request("PUT", "/problems/x", b"no zip", {"Content-Type": "application/zip"})
    with socket.create_connection(("127.0.0.1", cellblock.port)) as connection:
        connection.sendall(b"no http\n\n")
        assert connection.recv(4096).startswith(b"HTTP/1.0 400 ")
    until_grown(cellblock, before, 1, "cellblock_refused_total", code="bad_http")
    for code in ("unsupported_language", "not_found", "invalid_package"):
        assert growth(cellblock, before, "cellblock_refused_total", code=code) == 1
    assert growth(cellblock, before, "cellblock_uploads_total", outcome="invalid_package") == 1


def test_whatever_clients_ask_for_there_are_no_more_series(cellblock: Server) -> None:
    def ask(number: int) -> None:
        cellblock.request("GET", f"/nothing/{number}")
        cellblock.request("GET", f"/problems/p{number}")
        cellblock.request("GET", "/", headers={"X-Request-Id": f"id-{number}"})
        cellblock.post({"language": f"cobol-{number}", "code": ""})

    ask(0)
    until(lambda: total(scrape(cellblock), "cellblock_refused_total", code="no_such_problem") > 0, 5, "is counted")
    before = set(scrape(cellblock))
    for number in range(1, 20):
        ask(number)
    assert set(scrape(cellblock)) == before


def test_a_client_that_hangs_up_is_counted(cellblock: Server) -> None:
    before = scrape(cellblock)
    sent = body({"language": "python", "code": "while True: pass", "timeout": 30})
    head = f"POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(sent)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", cellblock.port)) as connection:
        connection.sendall(head.encode() + sent)
        until(lambda: growth(cellblock, before, "cellblock_slots_taken") == 1, START_S, "it runs")
    until_grown(cellblock, before, 1, "cellblock_requests_total", path="/execute", status="499")


def test_the_state_of_the_keeper_is_told(cellblock: Server) -> None:
    samples = scrape(cellblock)
    assert total(samples, "cellblock_keeper_up") == 1
    pools = by(samples, "cellblock_pool_wanted", "pool")
    assert {"python/run", "typescript/run", "rust/compile"} <= set(pools)
    assert all(age > 0 for age in by(samples, "cellblock_warden_age_seconds", "language").values())
    assert set(by(samples, "cellblock_toolchain_healthy", "language").values()) == {1}
    assert total(samples, "cellblock_jails_failed_total") == 0


def test_a_peer_that_a_proxy_speaks_for_is_not_local(cellblock: Server) -> None:
    for header in ("X-Forwarded-For", "X-Real-IP", "Forwarded"):
        answer = cellblock.request("GET", "/metrics", headers={header: "192.0.2.1"})
        assert (answer.status, answer.json["code"]) == (403, "forbidden")


@pytest.fixture(scope="module")
def two() -> collections.abc.Iterator[Server]:
    """A server of two HTTP processes, whose metrics all may read."""
    with Server(languages=["python"], http_processes=2, metrics="all") as server:
        yield server


def place_of(process: psutil.Process) -> Place:
    """Which of the HTTP processes it is, as its command says."""
    command = process.cmdline()
    return Place(*json.loads(command[command.index("--place") + 1]))


def test_nobody_else_on_this_host_is_told_by_the_processes_own_sockets(two: Server) -> None:
    """Their names can be read by all (/proc/net/unix); who connects with another uid is told nothing."""
    process = two.processes("http")[0]
    assert os.geteuid() != process.uids().effective
    name = place_of(process).names[0]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(f"\0{name}")
        assert connection.recv(1) == b""


@pytest.mark.slow
def test_several_processes_are_told_together_and_one_that_dies_begins_again(two: Server) -> None:
    """Whichever process is asked. What the others have counted does not change when one of them starts again."""
    name, runs = "cellblock_runs_total", 24
    for _ in range(runs):
        two.execute("python", "print(1)")
    until(lambda: total(scrape(two), name) == runs, 5, "all are counted")
    counted = by(scrape(two), name, "process")
    assert set(counted) == {"1", "2"}, f"{runs} connections went to one process"
    assert [by(scrape(two), name, "process") for _ in range(8)] == [counted] * 8
    assert two.request("GET", "/metrics", headers={"X-Real-IP": "192.0.2.1"}).status == 200  # the setting is "all"

    losses = total(scrape(two), "cellblock_warden_losses_total")
    two.warden("python").kill()
    until(lambda: total(scrape(two), "cellblock_warden_losses_total") == losses + 1, START_S, "the loss is told")

    first = min(two.processes("http"), key=lambda process: process.pid)
    number = str(place_of(first).number)
    first.suspend()
    until(lambda: total(_if_there(two), "cellblock_processes_silent") == 1, START_S, "its silence is told")
    first.kill()
    other = {"1": "2", "2": "1"}[number]
    until(lambda: set(by(_if_there(two), "cellblock_slots", "process")) == {"1", "2"}, START_S, "both are back")
    assert by(scrape(two), name, "process") == {other: counted[other], number: 0}


def _if_there(server: Server) -> Samples:
    """A connection that the kernel dealt to a process that stands still or is dead has no answer."""
    try:
        return scrape(server, timeout_s=2)
    except OSError:
        return {}


@pytest.mark.slow
def test_it_can_be_switched_off_and_the_access_log_too() -> None:
    with Server(healthy=False, languages=["python"], metrics="off", access_log="false") as server:
        assert server.request("GET", "/metrics").status == 404
        assert server.request("GET", "/languages").status == 200
    assert '"event": "request"' not in server.log
