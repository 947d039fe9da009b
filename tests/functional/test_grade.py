"""POST /grade: a submission is compiled once and run on every test; each ending gets its verdict."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import subprocess
import sys
import time
from typing import Any

import pytest

from tests.functional.test_stream import events
from tests.server import IS_EMULATED, Server

SLOWER = 20 if IS_EMULATED else 1  # than a host

SUM = {
    "python": "print(sum(map(int, input().split())))",
    "typescript": "import { readFileSync } from 'node:fs';\nconsole.log(readFileSync(0, 'utf8').trim().split(' ').map(Number).reduce((a, b) => a + b));",
    "rust": 'fn main() { let mut s = String::new(); std::io::stdin().read_line(&mut s).unwrap(); println!("{}", s.split_whitespace().map(|x| x.parse::<i64>().unwrap()).sum::<i64>()); }',
}
TESTS = [{"input": f"{n} {2 * n}\n", "expected": f"{3 * n}\n"} for n in range(1, 6)]


def grade(server: Server, code: str, language: str = "python", **fields: Any) -> dict[str, Any]:
    fields.setdefault("limits", {"cpu_time": 2 * SLOWER, "wall_time": 5 * SLOWER})
    answer = server.request(
        "POST",
        "/grade",
        json.dumps({"code": code, "language": language, "tests": TESTS, **fields}).encode(),
        {"Content-Type": "application/json"},
    )
    assert answer.status == 200, answer.text
    result: dict[str, Any] = answer.json
    return result


def verdicts(result: dict[str, Any]) -> list[str]:
    return [test["verdict"] for test in result["tests"]]


@pytest.mark.vm
@pytest.mark.parametrize("language", SUM)
def test_a_right_program_is_accepted_on_every_test(cellblock: Server, language: str) -> None:
    result = grade(cellblock, SUM[language], language)
    assert (result["verdict"], verdicts(result)) == ("AC", ["AC"] * 5), result
    assert [test["id"] for test in result["tests"]] == ["1", "2", "3", "4", "5"]
    assert result["compile"]["success"] is True
    assert all(test["cpu_time"] > 0 and test["memory_bytes"] > 0 for test in result["tests"])
    assert result["cpu_time_max"] == max(test["cpu_time"] for test in result["tests"])


ENDINGS = {
    "WA": ("print(0)", "WA", None),
    "TLE by CPU time": ("while True: pass", "TLE", "cpu"),
    "TLE by wall time": ("import time\ntime.sleep(60)", "TLE", "wall"),
    "MLE": ("kept = []\nwhile True: kept.append(bytearray(1 << 20))", "MLE", "memory"),
    "OLE": ("while True: print('x' * 1000)", "OLE", "output"),
    "RE by code": ("raise SystemExit(3)", "RE", "exit code 3"),
    "RE by signal": ("import os\nos.abort()", "RE", "signal 6 (SIGABRT)"),
    "RE by exception": ("1 / 0", "RE", "exit code 1"),
    "no output": ("", "WA", None),
}


@pytest.mark.vm
@pytest.mark.parametrize("name", ENDINGS)
def test_each_ending_has_its_verdict(cellblock: Server, name: str) -> None:
    code, verdict, reason = ENDINGS[name]
    limits = {"cpu_time": 0.3 * SLOWER, "wall_time": 1.5 * SLOWER, "memory_mb": 64, "output_kb": 64}
    result = grade(cellblock, code, tests=TESTS[:1], limits=limits)
    (test,) = result["tests"]
    assert (result["verdict"], test["verdict"], test["reason"]) == (verdict, verdict, reason), result


def test_what_does_not_compile_is_run_on_no_test(cellblock: Server) -> None:
    result = grade(cellblock, "fn main() { wrong }", "rust")
    assert (result["verdict"], verdicts(result), result["compile"]["success"]) == ("CE", ["SK"] * 5, False)
    assert "cannot find value `wrong`" in result["compile"]["error"]
    assert result["score"] is None
    assert result["compile"]["time"] > 0


def test_after_a_failure_the_rest_is_skipped_where_that_is_asked(cellblock: Server) -> None:
    code = "n = int(input().split()[0])\nprint(3 * n if n != 3 else 'no')"
    assert verdicts(grade(cellblock, code)) == ["AC", "AC", "WA", "AC", "AC"]
    assert verdicts(grade(cellblock, code, stop_on_failure=True)) == ["AC", "AC", "WA", "SK", "SK"]


def test_time_that_was_waited_for_a_core_is_not_charged(cellblock: Server) -> None:
    """Twenty tests of 0.1 s on two cores; no test's wall time has the others' in it."""
    code = "import time\nend = time.process_time() + 0.1\nwhile time.process_time() < end: pass\nprint('ok')"
    tests = [{"expected": "ok"}] * 20
    result = grade(cellblock, code, tests=tests, limits={"cpu_time": 0.5, "wall_time": 1.0})
    assert set(verdicts(result)) == {"AC"}, result
    assert all(0.1 <= test["cpu_time"] < 0.2 for test in result["tests"])


HOG = """
import os, time
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
print(flush=True)
while True:
    end = time.perf_counter() + 0.08
    while time.perf_counter() < end: pass
    time.sleep(0.02)
"""


def test_time_that_others_took_from_it_is_not_the_programs(cellblock: Server) -> None:
    """A right program that has a fifth of its core, because work that goes before all of ours takes the rest."""
    code = "import time\nwhile time.process_time() < 0.2: pass\nprint('ok')"
    limits = {"cpu_time": 0.4, "wall_time": 0.3}
    with contextlib.ExitStack() as stack:
        for core in os.sched_getaffinity(0):
            command = ["taskset", "-c", str(core), sys.executable, "-c", HOG]
            hog = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
            stack.callback(hog.kill)
            assert hog.stdout is not None
            assert hog.stdout.readline() == b"\n", "it may not go before others here"
        (test,) = grade(cellblock, code, tests=[{"input": "", "expected": "ok\n"}], limits=limits)["tests"]
    assert (test["verdict"], test["reason"]) == ("AC", None), test
    assert test["wall_time"] > limits["wall_time"], "nothing was taken from it, so this shows nothing"


def test_a_graded_run_has_no_quota(cellblock: Server) -> None:
    code = "import time\nend = time.process_time() + 1.5\nwhile time.process_time() < end: pass\nprint('ok')"
    result = grade(cellblock, code, tests=[{"expected": "ok"}], limits={"cpu_time": 3})
    (test,) = result["tests"]
    assert test["verdict"] == "AC"
    assert test["wall_time"] < 2.5, "half a core would take three seconds"


CHECKERS: list[tuple[dict[str, Any], str, str, str]] = [
    ({"kind": "tokens"}, "1  2\n\n", "1 2", "AC"),
    ({"kind": "tokens"}, "Yes", "yes", "AC"),
    ({"kind": "tokens", "case_sensitive": True}, "Yes", "yes", "WA"),
    ({"kind": "tokens", "float_tolerance": 1e-3}, "1.0001", "1.0", "AC"),
    ({"kind": "tokens", "float_tolerance": 1e-6}, "1.0001", "1.0", "WA"),
    ({"kind": "lines"}, "a  \nb\n\n", "a\nb", "AC"),
    ({"kind": "lines"}, " a", "a", "WA"),
    ({"kind": "exact"}, "a\n", "a\n", "AC"),
    ({"kind": "exact"}, "a", "a\n", "WA"),
]


@pytest.mark.parametrize(("checker", "printed", "expected", "verdict"), CHECKERS)
def test_outputs_are_compared_as_the_checker_says(
    cellblock: Server, checker: dict[str, Any], printed: str, expected: str, verdict: str
) -> None:
    code = f"import sys\nsys.stdout.write({printed!r})"
    result = grade(cellblock, code, tests=[{"expected": expected}], checker=checker)
    assert result["verdict"] == verdict, result
    assert (result["tests"][0]["checker_message"] == "") is (verdict == "AC")


ICPC = """
import sys
judge_in, judge_ans, feedback = sys.argv[1:4]
want, got = int(open(judge_ans).read()), int(sys.stdin.read())
open(feedback + "judgemessage.txt", "a").write(f"want {want} got {got} flags {sys.argv[4:]}")
if got == 13: raise SystemExit(3)
sys.exit(42 if abs(want - got) <= 1 else 43)
"""


@pytest.mark.vm
def test_a_checker_of_ones_own_judges_in_a_jail(cellblock: Server) -> None:
    checker = {"kind": "custom", "code": ICPC, "language": "python", "flags": ["one", "two"]}
    tests = [{"input": str(n), "expected": "10"} for n in (10, 11, 12)]
    result = grade(cellblock, "print(input())", tests=tests, checker=checker)
    assert verdicts(result) == ["AC", "AC", "WA"], result
    assert result["tests"][2]["checker_message"] == "want 10 got 12 flags ['one', 'two']"


def test_a_checker_that_fails_is_our_failure_and_never_the_contestants(cellblock: Server) -> None:
    checker = {"kind": "custom", "code": ICPC, "language": "python"}
    result = grade(cellblock, "print(13)", tests=[{"expected": "10"}], checker=checker)
    (test,) = result["tests"]
    assert (result["verdict"], test["verdict"]) == ("IE", "IE"), result
    assert test["reason"].startswith("the checker ended with code 3")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_checker_may_say_more_than_is_kept(cellblock: Server, stream: str) -> None:
    checker = {"kind": "custom", "code": f"import sys\nsys.{stream}.write('x' * 1000000)\n{ICPC}", "language": "python"}
    tests = [{"input": str(n), "expected": "10"} for n in (10, 12)]
    assert verdicts(grade(cellblock, "print(input())", tests=tests, checker=checker)) == ["AC", "WA"]


def test_a_checker_that_floods_is_our_failure(cellblock: Server) -> None:
    checker = {"kind": "custom", "code": "while True: print('x' * 1000000)", "language": "python"}
    (test,) = grade(cellblock, "print(13)", tests=[{"expected": "10"}], checker=checker)["tests"]
    assert test["verdict"] == "IE"
    assert test["reason"].startswith("the checker met its output limit")


def test_testlibs_protocol(cellblock: Server) -> None:
    code = "import sys\n_, given, output, answer = sys.argv[:4]\nsame = open(output).read() == open(answer).read()\nsys.stderr.write('as testlib'); sys.exit(0 if same else 1)"
    checker = {"kind": "custom", "code": code, "language": "python", "protocol": "testlib"}
    tests = [{"input": "a", "expected": "a\n"}, {"input": "b", "expected": "c\n"}]
    result = grade(cellblock, "print(input())", tests=tests, checker=checker)
    assert verdicts(result) == ["AC", "WA"], result
    assert result["tests"][1]["checker_message"] == "as testlib"


def test_a_checker_that_does_not_compile_is_the_requests_failure(cellblock: Server) -> None:
    body = {
        "code": "",
        "language": "python",
        "tests": TESTS,
        "checker": {"kind": "custom", "code": "fn", "language": "rust"},
    }
    answer = cellblock.request("POST", "/grade", json.dumps(body).encode(), {"Content-Type": "application/json"})
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")
    assert "the checker does not compile" in answer.json["detail"]


def test_each_result_is_an_event_in_the_order_of_the_tests(cellblock: Server) -> None:
    body = json.dumps({"code": SUM["python"], "language": "python", "tests": TESTS}).encode()
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
    answer = cellblock.request("POST", "/grade", body, headers)
    events = re.findall(r"event: (\w+)\r\ndata: (.*)\r\n", answer.text)
    assert [name for name, _ in events] == ["test"] * 5 + ["result"]
    assert [json.loads(data)["id"] for _, data in events[:5]] == ["1", "2", "3", "4", "5"]
    assert json.loads(events[5][1])["verdict"] == "AC"


def test_much_input_and_output_are_streamed(cellblock: Server) -> None:
    """Ten MB each way, and none of it stays."""
    numbers = "\n".join(str(n) for n in range(1_200_000)) + "\n"
    result = grade(
        cellblock,
        "import sys\nsys.stdout.write(sys.stdin.read())",
        tests=[{"input": numbers, "expected": numbers}],
        limits={"cpu_time": 5, "memory_mb": 256},
    )
    assert result["verdict"] == "AC", result["tests"]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"tests": []}, "tests"),
    ({"tests": [{"id": "a"}, {"id": "a"}]}, "tests"),
    ({"tests": [{"id": ""}, {"id": "a"}]}, "tests.0.id"),  # "" is what scoring calls all tests together
    ({"limits": {"cpu_time": 0}}, "limits.cpu_time"),
    ({"limits": {"memory_mb": 1 << 20}}, "limits.memory_mb"),
    ({"limits": {"output_kb": -1}}, "limits.output_kb"),
    ({"limits": {"processes": 10**6}}, "limits.processes"),
    ({"checker": {"kind": "tokens", "float_tolerance": -1}}, "checker"),
    ({"checker": {"kind": "tokens", "float_tolerance": 1, "float_absolute_tolerance": 1}}, "checker"),
    ({"checker": {"kind": "guess"}}, "checker"),
    ({"language": "cobol"}, "language"),
]


@pytest.mark.parametrize(("fields", "field"), WRONG, ids=[json.dumps(fields) for fields, _ in WRONG])
def test_a_wrong_request_is_told_with_its_field(cellblock: Server, fields: dict[str, Any], field: str) -> None:
    body = json.dumps({"code": "", "language": "python", "tests": TESTS, **fields}).encode()
    answer = cellblock.request("POST", "/grade", body, {"Content-Type": "application/json"})
    assert answer.status == 400, answer.text
    assert field in answer.json["detail"]


def test_a_client_that_hangs_up_stops_its_grading(cellblock: Server) -> None:
    """The next grading on the same cores is not behind what nobody waits for."""
    slow = [{"expected": ""}] * 10
    body = json.dumps(
        {"code": "while True: pass", "language": "python", "tests": slow, "limits": {"cpu_time": 5}}
    ).encode()
    with pytest.raises(TimeoutError):
        cellblock.request("POST", "/grade", body, {"Content-Type": "application/json"}, timeout_s=1)
    began = time.monotonic()
    assert grade(cellblock, SUM["python"])["verdict"] == "AC"
    assert time.monotonic() - began < 4


NEVER = {  # what no program can be given, and the field that is told
    "limits.wall_time": {"limits": {"wall_time": 1e-10}},
    "limits.cpu_time": {"limits": {"cpu_time": 1e-10}},
    "limits.cpu_time, infinite": {"limits": {"cpu_time": 1e308}},
    "limits.wall_time, infinite": {"limits": {"wall_time": 1e308}},
    "tests.0.args": {"tests": [{"args": ["\x01" * 12_000]}]},
    "checker.flags": {"checker": {"kind": "custom", "code": "", "language": "python", "flags": ["f" * 32_760]}},
}


def test_what_no_program_can_be_given_is_told_and_touches_no_run_of_another(cellblock: Server) -> None:
    """The keeper ends a peer that sends it nonsense, with every run in flight."""
    wait = "import time\nprint('begun', flush=True)\ntime.sleep(2)\nprint('ended')"
    heard = events(cellblock, language="python", code=wait)
    assert "stdout" in (name for name, _, _ in heard)
    for name, fields in NEVER.items():
        body = {"code": "", "language": "python", "tests": TESTS[:1], **fields}
        answer = cellblock.request("POST", "/grade", json.dumps(body).encode(), {"Content-Type": "application/json"})
        assert (answer.status, answer.json["code"]) == (400, "invalid_request"), name
        assert answer.json["errors"][0]["field"] == name.partition(",")[0]
    for field in ("timeout", "cpu_time_limit"):
        for seconds in (1e-10, 1e308):
            assert cellblock.post({"language": "python", "code": "", field: seconds}).status == 400
    *_, (_, result, _) = heard
    assert result["stdout"] == "begun\nended\n"


def test_descriptors_are_those_of_the_tests_that_run(cellblock: Server) -> None:
    """300 tests would be 600, before the first of them runs."""
    tests = [{"input": f"{n} 1\n", "expected": f"{n + 1}\n"} for n in range(300)]
    body = json.dumps({"code": SUM["python"], "language": "python", "tests": tests}).encode()
    folder = pathlib.Path(f"/proc/{cellblock.http.pid}/fd")
    before = most = len(list(folder.iterdir()))
    last = b""
    connection = http.client.HTTPConnection("127.0.0.1", cellblock.port, timeout=60)
    with contextlib.closing(connection):
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
        connection.request("POST", "/grade", body, headers)
        for line in connection.getresponse():
            most = max(most, len(list(folder.iterdir())))
            last = line if line.startswith(b"data: ") else last
    assert json.loads(last[6:])["verdict"] == "AC"
    assert most - before < 60, f"{most} from {before}"


JUDGED = "import sys\nsys.exit(42 if sys.stdin.read() == open(sys.argv[2]).read() else 43)"


@pytest.mark.parametrize("name", ["input", "answer/x", "output", "feedback", "feedback/judgemessage.txt"])
def test_a_checkers_own_files_have_no_names_of_ours(cellblock: Server, name: str) -> None:
    checker = {"kind": "custom", "code": JUDGED, "language": "python", "files": [{"name": name, "content": "x"}]}
    body = json.dumps({"code": "", "language": "python", "tests": TESTS, "checker": checker}).encode()
    answer = cellblock.request("POST", "/grade", body, {"Content-Type": "application/json"})
    assert answer.status == 400, answer.text
    assert answer.json["errors"][0]["field"] == "checker.files"


@pytest.mark.parametrize("count", [1001, 2000])
def test_too_many_tests_are_told_with_the_field_and_its_maximum(cellblock: Server, count: int) -> None:
    body = json.dumps({"code": "", "language": "python", "tests": [{}] * count}).encode()
    answer = cellblock.request("POST", "/grade", body, {"Content-Type": "application/json"})
    (error,) = answer.json["errors"]
    assert (answer.status, error["field"]) == (400, "tests")
    assert "at most 1000 items" in error["message"]


@pytest.mark.parametrize(
    ("code", "verdict"), [(0, "AC"), (1, "WA"), (2, "WA"), (4, "WA"), (8, "WA"), (3, "IE"), (7, "IE"), (16, "IE")]
)
def test_which_exit_codes_of_testlib_are_understood(cellblock: Server, code: int, verdict: str) -> None:
    checker = {"kind": "custom", "code": f"raise SystemExit({code})", "language": "python", "protocol": "testlib"}
    assert grade(cellblock, "", tests=[{}], checker=checker)["verdict"] == verdict


@pytest.mark.parametrize(
    ("message", "code", "verdict", "score", "told"),
    [
        ("2.5 half of it", 7, "AC", 2.5, "half of it"),
        ("0 nothing", 7, "WA", 0, "nothing"),
        ("points_info=7", 7, "IE", None, ""),
        ("nearly", 30, "WA", None, "partially correct (30): nearly"),
        ("the answer is wrong", 3, "IE", None, ""),
    ],
)
def test_points_and_partial_scores_of_testlib(
    cellblock: Server, message: str, code: int, verdict: str, score: float | None, told: str
) -> None:
    """As testlib.h says them: the message goes into the file, and stderr says so."""
    note = "\nSee file to check exit message"
    program = (
        f"import sys\nopen(sys.argv[4], 'w').write({message!r})\nprint({note!r}, file=sys.stderr)\nsys.exit({code})"
    )
    checker = {"kind": "custom", "code": program, "language": "python", "protocol": "testlib"}
    (test,) = grade(cellblock, "", tests=[{}], checker=checker)["tests"]
    assert (test["verdict"], test["score"], test["checker_message"]) == (verdict, score, told)


def test_points_may_come_on_stderr(cellblock: Server) -> None:
    code = "import sys\nprint('points 3 of them', file=sys.stderr)\nsys.exit(7)"
    checker = {"kind": "custom", "code": code, "language": "python", "protocol": "testlib"}
    (test,) = grade(cellblock, "", tests=[{}], checker=checker)["tests"]
    assert (test["verdict"], test["score"], test["checker_message"]) == ("AC", 3, "of them")
