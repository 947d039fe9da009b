"""/problems: a package is stored once, whole or not at all, and submissions are graded by the version that was there."""

import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from tests import small_packages
from tests.functional.test_grade_command import ADD, GUESS, MULTI_PASS, SCORING, SUM
from tests.server import Answer, Server, readable, until
from tests.small_packages import Files, with_files, zip_bytes

ZIP, JSON = {"Content-Type": "application/zip"}, {"Content-Type": "application/json"}
ELSEWHERE = "127.0.0.2"  # another client's address
TEN_TIMES = with_files(SUM, {"data/secret/1.ans": "300\n"})  # another version of SUM, which takes ADD for wrong
UNTIMED = with_files(
    small_packages.NEW,
    {
        "problem.yaml": "problem_format_version: 2025-09\nname: Sum\nuuid: 8ee7605a-ab1a-8226-1d71-e346ab1e688d\n"
        "limits:\n  time_resolution: 0.1\n",
        "submissions/accepted/sum.py": "import time\nend = time.process_time() + 0.3\n"
        "while time.process_time() < end: pass\nprint(sum(map(int, input().split())))\n",
    },
)
ENDLESS = with_files(UNTIMED, {"submissions/accepted/sum.py": "while True: pass\n"})


@contextlib.contextmanager
def begun(
    server: Server, method: str, path: str, body: bytes = b"", source: str = "", size: int | None = None, **headers: str
) -> Iterator[http.client.HTTPConnection]:
    """A request that was sent, with `size` for its Content-Length; the client hangs up at the end."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60, source_address=(source, 0))
    try:
        connection.putrequest(method, path)
        kind = ZIP if method == "PUT" else JSON
        for name, value in {**kind, "Content-Length": str(len(body) if size is None else size), **headers}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        yield connection
    finally:
        connection.close()


def put(server: Server, problem: str, package: Files | bytes, source: str = "") -> Answer:
    content = package if isinstance(package, bytes) else zip_bytes(package)
    with begun(server, "PUT", f"/problems/{problem}", content, source) as connection:
        return Answer(connection.getresponse())


def grading(code: str, language: str = "python", **fields: Any) -> bytes:
    return json.dumps({"code": code, "language": language, **fields}).encode()


def grade(server: Server, problem: str, code: str, language: str = "python", **fields: Any) -> Any:
    answer = server.request("POST", f"/problems/{problem}/grade", grading(code, language, **fields), JSON)
    assert answer.status == 200, answer.text
    return answer.json


def listed(server: Server) -> list[str]:
    return [one["id"] for one in server.request("GET", "/problems").json["problems"]]


def told(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json["code"]


def store(server: Server) -> pathlib.Path:
    return pathlib.Path(server.environment["CELLBLOCK_STATE"], "problems")


def kept(server: Server) -> tuple[int, int]:
    """How many versions are on the disk, and how many are coming or going."""
    return len(list((store(server) / "versions").iterdir())), len(list((store(server) / "incoming").iterdir()))


def queue(server: Server) -> tuple[int, int]:
    found = server.request("GET", "/health").json["queue"]
    return found["running"], found["waiting"]


@pytest.fixture
def problems(cellblock: Server) -> Iterator[Server]:
    """The session's server without any problem, before and after."""
    forget_all(cellblock)
    yield cellblock
    forget_all(cellblock)


def forget_all(server: Server) -> None:
    for problem in listed(server):
        assert server.request("DELETE", f"/problems/{problem}").status == 204
    assert kept(server) == (0, 0)


@pytest.fixture
def one_at_a_time() -> Iterator[Server]:
    """A server with one slot for all that runs, and two uploads at once."""
    with Server(runs_at_once=1, uploads_at_once=2) as server:
        yield server


@contextlib.contextmanager
def busy(server: Server) -> Iterator[None]:
    """The only slot is taken."""
    body = grading("import time\ntime.sleep(50)", timeout=60)
    with begun(server, "POST", "/execute", body):
        until(lambda: queue(server) == (1, 0), 10, "the slot is taken")
        yield


def test_a_problem_is_stored_replaced_shown_and_forgotten(problems: Server) -> None:
    first, again, second = put(problems, "sum", SUM), put(problems, "sum", SUM), put(problems, "sum", TEN_TIMES)
    assert (first.status, again.status, second.status) == (201, 200, 200)
    assert first.json["version"] == again.json["version"] != second.json["version"]
    shown = problems.request("GET", "/problems/sum")
    assert (shown.status, shown.json, shown.headers["ETag"]) == (200, second.json, f'"{second.json["version"]}"')
    same = problems.request("GET", "/problems/sum", headers={"If-None-Match": shown.headers["ETag"]})
    assert (same.status, same.text) == (304, "")
    (entry,) = [one for one in problems.request("GET", "/problems").json["problems"] if one["id"] == "sum"]
    assert entry == {key: second.json[key] for key in ("id", "version", "stored_at", "disk_bytes")}
    assert problems.request("DELETE", "/problems/sum").status == 204
    for method, path, body in (
        ("GET", "/problems/sum", None),
        ("DELETE", "/problems/sum", None),
        ("POST", "/problems/sum/grade", grading(ADD)),
    ):
        assert told(problems.request(method, path, body, JSON)) == (404, "no_such_problem")
    assert kept(problems) == (0, 0)


def test_a_summary_says_what_the_package_is_and_what_cannot_be_run_here(problems: Server) -> None:
    found = put(problems, "sum", SUM).json
    assert (found["name"], found["types"], found["format"], found["tests"]) == ("Sum", ["pass-fail"], "legacy", 3)
    assert found["limits"] == {
        "cpu_time": 1.0, "cpu_time_source": "package", "wall_time": 5.0, "memory_mb": 2048, "output_kb": 8192,
        "passes": 1,
    }  # fmt: skip
    assert {"name": "sample", "tests": 1} in found["groups"] and {"name": "secret", "tests": 2} in found["groups"]
    assert {"name": "accepted/add.py", "expected": ["AC"]} in found["submissions"]
    assert found["cannot"] == ["submissions/accepted/other.cobol: no toolchain for its files"]
    assert put(problems, "guess", GUESS).json["types"] == ["pass-fail", "interactive"]
    assert put(problems, "echo", SCORING).json["types"] == ["scoring"]
    twice = put(problems, "twice", MULTI_PASS).json
    assert (twice["types"], twice["limits"]["passes"]) == (["pass-fail", "multi-pass"], 3)
    assert listed(problems) == ["echo", "guess", "sum", "twice"]


@pytest.mark.parametrize(
    ("files", "verdicts"),
    [
        pytest.param(SUM, {"accepted/add.py": "AC", "accepted/add.rs": "AC", "wrong_answer/abs.py": "WA", "run_time_error/raise.py": "RE"}, id="pass-fail"),
        pytest.param(SCORING, {"accepted/echo.py": "AC 100", "partially_accepted/short.py": "AC 40"}, id="scoring"),
        pytest.param(GUESS, {"accepted/halves.py": "AC", "wrong_answer/counts.py": "WA", "run_time_error/dies.py": "RE"}, id="interactive"),
        pytest.param(MULTI_PASS, {"accepted/code.py": "AC", "wrong_answer/forgets.py": "WA"}, id="multi-pass"),
    ],
)  # fmt: skip
def test_submissions_are_graded_by_the_packages_rules(
    problems: Server, files: dict[str, str], verdicts: dict[str, str]
) -> None:
    version = put(problems, "it", files).json["version"]
    for name, expected in verdicts.items():
        result = grade(problems, "it", files[f"submissions/{name}"], "rust" if name.endswith(".rs") else "python")
        score = "" if result["score"] is None else f" {result['score']:g}"
        assert result["verdict"] + score == expected, result
        assert result["problem"] == {"id": "it", "version": version}


def test_each_result_is_an_event_in_the_order_of_the_tests(problems: Server) -> None:
    put(problems, "sum", SUM)
    answer = problems.request(
        "POST", "/problems/sum/grade", grading(ADD), {**JSON, "Accept": "text/event-stream"}
    )  # fmt: skip
    events = [(name, json.loads(data)) for name, data in re.findall(r"event: (\w+)\r\ndata: (.*)\r\n", answer.text)]
    assert [(name, data.get("id")) for name, data in events[:3]] == [
        ("test", "sample/1"), ("test", "secret/1"), ("test", "secret/2"),
    ]  # fmt: skip
    assert events[3][0] == "result" and events[3][1]["verdict"] == "AC"
    assert len(events) == 4


def test_files_lie_beside_a_submission_and_the_rest_is_skipped_where_that_is_asked(problems: Server) -> None:
    put(problems, "sum", with_files(small_packages.NEW, {"problem.yaml": small_packages.NEW["problem.yaml"] + "limits:\n  time_limit: 1\n"}))  # fmt: skip
    files = [{"name": "more.py", "content": "def add(text): return sum(map(int, text.split()))"}]
    assert grade(problems, "sum", "import more\nprint(more.add(input()))", files=files)["verdict"] == "AC"
    verdicts = [[test["verdict"] for test in grade(problems, "sum", "print(7)", stop_on_failure=stop)["tests"]] for stop in (False, True)]  # fmt: skip
    assert verdicts == [["WA", "AC", "WA"], ["WA", "SK", "SK"]]


def test_what_the_package_includes_lies_beside_submissions_in_that_language(problems: Server) -> None:
    """include/default is for languages that have no folder of their own."""
    include = {"include/python3/more.py": "def add(text): return sum(map(int, text.split()))"}
    importing, reading = "import more\nprint(more.add(input()))", "print(open('more.txt').read())"
    for files, code in (
        (include, importing),
        ({**include, "include/default/more.py": ""}, importing),
        ({"include/default/more.txt": "3", "data/secret/1.ans": "3", "data/secret/2.ans": "3"}, reading),
    ):
        put(problems, "sum", with_files(SUM, files))
        own = [{"name": "more.py", "content": "is replaced"}]
        assert grade(problems, "sum", code, files=own)["verdict"] == "AC"
    put(problems, "sum", with_files(SUM, {"include/python3/main.py": ""}))
    answer = problems.request("POST", "/problems/sum/grade", grading(ADD), JSON)
    assert told(answer) == (400, "cannot_grade")


def test_a_tests_own_files_go_before_a_contestants(problems: Server) -> None:
    """Also where one is a folder of the other; what the language itself needs the name of is told."""
    yaml = "problem_format_version: 2025-09\nname: x\nuuid: 11111111-1111-4111-8111-111111111111\nlimits:\n  time_limit: 1\n"
    files = {"problem.yaml": yaml, "data/secret/1.in": "", "data/secret/1.ans": "7", "data/secret/1.files/a.txt": "7"}
    put(problems, "files", files)
    for name in ("a.txt", "a.txt/x"):
        own = [{"name": name, "content": "own"}]
        for language, code in (
            ("python", "print(open('a.txt').read())"),
            ("rust", 'fn main() { print!("{}", std::fs::read_to_string("a.txt").unwrap()); }'),
        ):
            assert grade(problems, "files", code, language, files=own)["verdict"] == "AC", (name, language)
    put(problems, "files", {**files, "data/secret/1.files/main.py": ""})
    answer = problems.request("POST", "/problems/files/grade", grading(ADD), JSON)
    assert told(answer) == (400, "cannot_grade")
    assert "has a main.py; Python needs the name" in answer.json["detail"]


def test_what_a_checker_is_given_goes_before_files_of_its_own(problems: Server) -> None:
    judge = "import sys\nsys.exit(42 if sys.stdin.read().split() == open(sys.argv[2]).read().split() else 43)\n"
    own = {f"output_validators/judge/{name}": "own" for name in ("main.py", "input/x", "answer", "feedback")}
    own["output_validators/judge/main.py"] = judge
    put(problems, "sum", with_files(SUM, {"problem.yaml": VALIDATOR["problem.yaml"], ".timelimit": "1", **own}))
    result = grade(problems, "sum", ADD)
    assert result["verdict"] == "AC", result


SCORES = {
    "problem.yaml": "problem_format_version: 2025-09\nname: x\ntype: scoring\n"
    "uuid: 11111111-1111-4111-8111-111111111111\nlimits:\n  time_limit: 1\n",
    "output_validator/judge.py": "import sys\nopen(sys.argv[3] + 'score.txt', 'w').write(sys.stdin.read())\nsys.exit(42)\n",
    "data/secret/1.in": "", "data/secret/1.ans": "",
}  # fmt: skip


def test_a_score_that_the_format_does_not_allow_is_ie_with_a_sentence(problems: Server) -> None:
    assert put(problems, "scores", SCORES).status == 201
    good = grade(problems, "scores", "print(60)")
    assert (good["verdict"], good["score"], good["problems"]) == ("AC", 60, [])
    result = grade(problems, "scores", "print(250)")
    (test,) = result["tests"]
    assert (result["verdict"], test["verdict"], test["score"]) == ("IE", "IE", 250), result
    assert test["reason"] == "the score 250 exceeds the maximum of 100"
    assert result["problems"] == ["secret/1: " + test["reason"]]
    assert test["cpu_time"] > 0
    for infinite in ("1e999", "inf", "-1e999", "\u0665"):
        (test,) = grade(problems, "scores", f"print('{infinite}')")["tests"]
        assert test["verdict"] == "IE"
        assert test["reason"] == f"the checker's score.txt is no finite number: {infinite!a}"


def test_limits_above_what_is_allowed_here_are_cut_with_a_warning(problems: Server) -> None:
    files = {"problem.yaml": "name: x\nlimits:\n  memory: 8192\n  output: 500\n", ".timelimit": "300\n"}
    summary = put(problems, "large", with_files(SUM, files)).json
    limits = summary["limits"]
    assert (limits["cpu_time"], limits["wall_time"]) == (118, 120)  # wall time is the backstop still
    assert [one for one in summary["warnings"] if one.startswith("limits: ")] == [
        "limits: time limit: 300 s is more than is allowed here; it is 118 s",
        f"limits: memory: 8192 MB is more than is allowed here; it is {limits['memory_mb']} MB",
        f"limits: output: 500 MB is more than is allowed here; it is {limits['output_kb'] // 1024} MB",
    ]
    assert not [one for one in put(problems, "sum", SUM).json["warnings"] if "limits" in one]


def test_a_computed_limit_that_is_cut_is_told_too(problems: Server) -> None:
    """Its setter would believe in a safety factor that is not there."""
    yaml = UNTIMED["problem.yaml"] + "  time_multipliers:\n    ac_to_time_limit: 1000\n"
    summary = put(problems, "slow", with_files(UNTIMED, {"problem.yaml": yaml})).json
    assert (summary["limits"]["cpu_time"], summary["limits"]["cpu_time_source"]) == (118, "computed")
    (warning,) = [one for one in summary["warnings"] if one.startswith("limits: ")]
    assert warning.endswith("s is more than is allowed here; it is 118 s")


def test_without_a_time_limit_it_is_computed_from_the_accepted_submissions(problems: Server) -> None:
    """0.3 s of CPU and a little, times two, in tenths of a second."""
    limits = put(problems, "sum", UNTIMED).json["limits"]
    assert limits["cpu_time_source"] == "computed"
    assert 0.7 <= limits["cpu_time"] <= 1.5
    until(lambda: queue(problems) == (0, 0), 5)


def test_a_time_limit_is_a_default_where_no_accepted_submission_can_be_run(problems: Server) -> None:
    files = with_files(UNTIMED, {"submissions/accepted/sum.py": None, "submissions/accepted/sum.cob": "x"})
    limits = put(problems, "sum", files).json["limits"]
    assert (limits["cpu_time"], limits["cpu_time_source"]) == (1.0, "default")


def test_no_time_limit_is_computed_from_submissions_that_are_not_accepted(problems: Server) -> None:
    answer = put(problems, "sum", with_files(UNTIMED, {"submissions/accepted/more.py": "print(7)\n"}))
    assert told(answer) == (400, "invalid_package")
    assert "submissions/accepted/more.py gets WA on sample/1 here; say it in problem.yaml" in answer.json["detail"]
    assert listed(problems) == [] and kept(problems) == (0, 0)


VALIDATOR: dict[str, str | None] = {
    "problem.yaml": "name: x\nvalidation: custom\n", "output_validators/judge.py": "import sys\nsys.exit(42)\n",
}  # fmt: skip
CANNOT: list[tuple[dict[str, str | None], str]] = [
    ({"output_validators/judge.cob": "x", "problem.yaml": "name: x\nvalidation: custom\n"}, "no toolchain for cobol"),
    ({"output_validators/judge.rs": "fn", "problem.yaml": "name: x\nvalidation: custom\n"}, "checker does not compile"),
    (
        {
            "output_validators/a/a.py": "",
            "output_validators/b/b.py": "",
            "problem.yaml": "name: x\nvalidation: custom interactive\n",
        },
        "more than one output validator",
    ),
    *(
        ({"data/secret/testdata.yaml": f'output_validator_flags: "{flags}"\n', **VALIDATOR}, f"secret/1: flags {why}")
        for flags, why in (
            ("f" * 40_000, "of the output validator: arguments have at most 32768 bytes"),
            (
                "\\x01" * 12_000,
                "of the output validator: arguments have at most 32768 bytes together, and 60000 as JSON",
            ),
            ("a\\0b", "of the output validator: arguments cannot hold NUL"),
        )
    ),
    (
        {
            "problem.yaml": "problem_format_version: 2025-09\nname: x\ntype: pass-fail\n"
            "uuid: 11111111-1111-4111-8111-111111111111\nlimits:\n  time_limit: 1\n",
            "data/secret/1.yaml": 'args: ["a\\0b"]\n',
        },
        "secret/1: args: arguments cannot hold NUL",
    ),
    (
        {
            "problem.yaml": "name: x\ntype: scoring\n",
            "graders/mean.py": "print('AC 1')",
            "data/testdata.yaml": f"grading: custom\ngrader_flags: {'f' * 40_000}\n",
        },
        "data: grader_flags: arguments have at most 32768 bytes",
    ),
]


@pytest.mark.parametrize(("changes", "why"), CANNOT, ids=[why for _, why in CANNOT])
def test_a_package_that_nothing_could_be_graded_by_is_refused_at_once(
    problems: Server, changes: dict[str, str | None], why: str
) -> None:
    answer = put(problems, "sum", with_files(SUM, changes))
    assert told(answer) == (400, "cannot_grade")
    assert why in answer.json["detail"]
    assert listed(problems) == [] and kept(problems) == (0, 0)


def test_what_is_no_package_is_refused_whole_with_a_sentence(problems: Server) -> None:
    first = put(problems, "sum", SUM).json
    for content, why in (
        (b"", "not a zip archive"),
        (zip_bytes(SUM)[:-30], "not a zip archive"),
        (zip_bytes({**SUM, "../evil": ""}), "../evil: has a part that is empty, . or .."),
        (zip_bytes({"problem.yaml": "name: x"}), "data"),
    ):
        answer = put(problems, "sum", content)
        assert told(answer) == (400, "invalid_package")
        assert why in answer.json["detail"]
    assert problems.request("GET", "/problems/sum").json == first and kept(problems) == (1, 0)


def test_a_wrong_request_is_told(problems: Server) -> None:
    for problem in ("Sum", "-a", "a.b", "a" * 65, "%2e%2e", "a%2fb"):
        assert told(put(problems, problem, SUM)) == (400, "invalid_problem_id")
    for headers in (JSON, {**ZIP, "Content-Encoding": "gzip"}):
        assert told(problems.request("PUT", "/problems/a", b"x", headers)) == (415, "unsupported_media_type")
    put(problems, "sum", with_files(SUM, {"problem.yaml": f"{SUM['problem.yaml']}  code: 1\n"}))
    for body, code in (
        (grading(ADD, "cobol"), "unsupported_language"),
        (grading("x" * 1025), "code_too_long"),
        (grading("import a", files=[{"name": "a.py", "content": "#" * 1017}]), "code_too_long"),
        (grading(ADD, tests=[]), "invalid_request"),
    ):
        assert problems.request("POST", "/problems/sum/grade", body, JSON).json["code"] == code


def test_only_the_packages_languages_are_taken(problems: Server) -> None:
    put(problems, "sum", with_files(UNTIMED, {"problem.yaml": f"{UNTIMED['problem.yaml']}  time_limit: 1\nlanguages: [rust, cpp]\n"}))  # fmt: skip
    answer = problems.request("POST", "/problems/sum/grade", grading(ADD), JSON)
    assert told(answer) == (400, "unsupported_language")
    assert answer.json["detail"] == "This problem is not to be solved in Python, but in rust, cpp"
    assert grade(problems, "sum", SUM["submissions/accepted/add.rs"], "rust")["verdict"] == "AC"


def test_a_large_package_is_never_whole_in_memory(problems: Server) -> None:
    """96 MB that do not shrink; the process takes less than a quarter of that more."""
    content = zip_bytes({**SUM, "data/secret/3.in": os.urandom(96 << 20), "data/secret/3.ans": "x"}, zipfile.ZIP_STORED)
    process = pathlib.Path(f"/proc/{problems.http.pid}")

    def peak_kb() -> int:
        return int(re.findall(r"VmHWM:\s+(\d+) kB", (process / "status").read_text())[0])

    (process / "clear_refs").write_text("5")  # proc(5): the peak starts anew
    before_kb = peak_kb()
    assert put(problems, "large", content).status == 201
    assert peak_kb() - before_kb < 24 << 10


@pytest.mark.slow
def test_descriptors_are_those_of_the_tests_that_run(problems: Server) -> None:
    """300 tests would be 600."""
    tests = {f"data/secret/{n:03}.{kind}": text for n in range(300) for kind, text in (("in", f"{n} 1\n"), ("ans", f"{n + 1}\n"))}  # fmt: skip
    put(problems, "many", with_files(SUM, tests))
    folder = pathlib.Path(f"/proc/{problems.http.pid}/fd")
    before = len(list(folder.iterdir()))
    most, verdict = 0, ""
    body = grading(ADD)
    with begun(problems, "POST", "/problems/many/grade", body, Accept="text/event-stream") as connection:
        for line in connection.getresponse():
            most = max(most, len(list(folder.iterdir())))
            if line.startswith(b"data: ") and b'"compile"' in line:
                verdict = json.loads(line[6:])["verdict"]
    assert verdict == "AC"
    assert most - before < 60, f"{most} from {before}"


def test_a_package_that_is_replaced_or_deleted_changes_no_grading_under_way(one_at_a_time: Server) -> None:
    """Both gradings wait for the slot, each with the version that was there when it came."""
    server = one_at_a_time
    old = put(server, "sum", SUM).json["version"]
    with contextlib.ExitStack() as stack:
        with busy(server):
            waiting = [stack.enter_context(begun(server, "POST", "/problems/sum/grade", grading(ADD)))]
            until(lambda: queue(server) == (1, 1), 10, "the first grading waits")
            new = put(server, "sum", TEN_TIMES).json["version"]
            waiting.append(stack.enter_context(begun(server, "POST", "/problems/sum/grade", grading(ADD))))
            until(lambda: queue(server) == (1, 2), 10, "the second grading waits")
            assert server.request("DELETE", "/problems/sum").status == 204
            assert listed(server) == [] and kept(server) == (2, 0)
        results = [json.loads(connection.getresponse().read()) for connection in waiting]
    assert [(result["verdict"], result["problem"]["version"]) for result in results] == [("AC", old), ("WA", new)]
    until(lambda: kept(server) == (0, 0), 5, "nobody holds them any more")


@pytest.mark.slow
def test_a_client_that_hangs_up_lets_go_of_its_version(one_at_a_time: Server) -> None:
    put(one_at_a_time, "sum", SUM)
    with begun(one_at_a_time, "POST", "/problems/sum/grade", grading("while True: pass")):
        until(lambda: queue(one_at_a_time) == (1, 0), 10, "it is graded")
        assert one_at_a_time.request("DELETE", "/problems/sum").status == 204
        assert kept(one_at_a_time) == (1, 0)
    until(lambda: kept(one_at_a_time) == (0, 0) and queue(one_at_a_time) == (0, 0), 10, "nothing is left")


def test_a_time_limit_is_computed_in_a_slot_as_users_have_it(one_at_a_time: Server) -> None:
    with contextlib.ExitStack() as stack:
        with busy(one_at_a_time):
            connection = stack.enter_context(begun(one_at_a_time, "PUT", "/problems/sum", zip_bytes(UNTIMED)))
            until(lambda: queue(one_at_a_time) == (1, 1), 10, "it waits")
            assert listed(one_at_a_time) == []
        assert connection.getresponse().status == 201


@pytest.mark.slow
def test_an_upload_that_is_given_up_changes_nothing(one_at_a_time: Server) -> None:
    """While the package comes, and while its time limit is computed."""
    server = one_at_a_time
    content = zip_bytes(SUM)
    with begun(server, "PUT", "/problems/sum", content[:100], size=len(content)):
        until(lambda: put(server, "sum", b"").status == 429, 5, "it comes")
    until(lambda: put(server, "sum", b"").status == 400, 5, "it is given up")
    put(server, "sum", SUM)
    with begun(server, "PUT", "/problems/sum", zip_bytes(ENDLESS)):
        until(lambda: queue(server) == (1, 0), 10, "it is timed")
        assert kept(server) == (1, 1)
    until(lambda: queue(server) == (0, 0) and kept(server) == (1, 0), 10, "nothing is left of it")
    assert grade(server, "sum", ADD)["verdict"] == "AC"


@pytest.mark.slow
def test_accepted_submissions_have_a_deadline_together() -> None:
    with Server(package_timing_s=1.5) as server:
        answer = put(server, "sum", ENDLESS)
        assert told(answer) == (400, "invalid_package")
        assert answer.json["detail"] == "the accepted submissions take more than 1.5 seconds here"
        assert listed(server) == [] and kept(server) == (0, 0)
        until(lambda: queue(server) == (0, 0), 5)


@pytest.mark.slow
def test_uploads_are_one_of_each_client_and_some_of_all(one_at_a_time: Server) -> None:
    server, content = one_at_a_time, zip_bytes(SUM)
    with begun(server, "PUT", "/problems/a", content[:100], size=len(content)):
        until(lambda: put(server, "a", b"").status == 429, 5, "the first comes")
        mine = put(server, "b", SUM)
        assert told(mine) == (429, "too_many_uploads") and mine.headers["Retry-After"]
        with begun(server, "PUT", "/problems/a", content[:100], ELSEWHERE, size=len(content)):
            until(lambda: put(server, "a", b"", "127.0.0.3").status == 503, 5, "the second comes")
            full = put(server, "b", SUM, "127.0.0.3")
            assert told(full) == (503, "queue_full") and full.headers["Retry-After"]
        until(lambda: put(server, "b", SUM, ELSEWHERE).status == 201, 5, "a place is free")


def test_of_two_uploads_at_once_one_is_the_problem_and_each_is_told_its_own(problems: Server) -> None:
    for _ in range(5):
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            answers = [
                pool.submit(put, problems, "sum", files, source)
                for files, source in ((SUM, ""), (TEN_TIMES, ELSEWHERE))
            ]
            mine, others = (answer.result().json for answer in answers)
        assert mine["version"] != others["version"]
        assert problems.request("GET", "/problems/sum").json in (mine, others)
        assert kept(problems) == (1, 0)


def test_a_verdict_is_always_that_of_the_version_that_is_told_with_it(problems: Server) -> None:
    """While two clients replace the package all the time, and nothing is left of what they replaced."""
    verdicts = {put(problems, "sum", TEN_TIMES).json["version"]: "WA", put(problems, "sum", SUM).json["version"]: "AC"}
    clients = [(SUM, ""), (TEN_TIMES, ELSEWHERE)]

    def replace(files: Files, source: str) -> set[int]:
        return {put(problems, "sum", files, source).status for _ in range(15)}

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        uploads = [pool.submit(replace, *client) for client in clients]
        gradings = [pool.submit(lambda: [grade(problems, "sum", ADD) for _ in range(15)]) for _ in range(2)]
        assert [upload.result() for upload in uploads] == [{200}, {200}]
        results = [result for one in gradings for result in one.result()]
    assert all(result["verdict"] == verdicts[result["problem"]["version"]] for result in results)
    assert kept(problems) == (1, 0)


@pytest.mark.slow
def test_a_package_has_a_largest_size_and_the_store_an_end() -> None:
    with Server(package_mb_max=1, problems_max=1, problems_disk_mb=4) as server:
        large = zip_bytes({**SUM, "data/secret/1.in": os.urandom(1 << 20)}, zipfile.ZIP_STORED)
        assert told(put(server, "sum", large)) == (413, "body_too_large")
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("PUT", "/problems/sum", iter([large]), ZIP, encode_chunked=True)  # its length is not told
        assert told(Answer(connection.getresponse())) == (413, "body_too_large")
        connection.close()
        assert put(server, "sum", SUM).status == 201
        full = put(server, "other", SUM)
        assert told(full) == (507, "store_full")
        assert full.json["detail"] == "the store holds 1 problems, which is all that it may"
        spacious = zip_bytes({**SUM, "data/secret/1.in": "1" * (5 << 20)})
        assert told(put(server, "sum", spacious)) == (507, "store_full")
        assert listed(server) == ["sum"] and kept(server) == (1, 0)


@pytest.mark.slow
def test_a_restart_keeps_problems_with_their_time_limits(tmp_path: pathlib.Path) -> None:
    state = readable(tmp_path) / "state"
    with Server(state=state) as server:
        before = put(server, "sum", UNTIMED).json
        server.http.kill()
        until(lambda: server.answers() and server.request("GET", "/problems/sum").json == before, 20, "it is back")
    with Server(state=state) as server:
        assert server.request("GET", "/problems/sum").json == before
        assert grade(server, "sum", ADD)["problem"]["version"] == before["version"]


@pytest.mark.slow
def test_http_processes_share_the_store() -> None:
    """Connections are dealt out to two; what one stores, replaces and deletes, both know."""
    with Server(http_processes=2) as server:
        for files, status in ((SUM, 201), (TEN_TIMES, 200)):
            answer = put(server, "sum", files)
            assert answer.status == status
            seen = [server.request("GET", "/problems/sum").json for _ in range(30)]
            assert seen == [answer.json] * 30
        assert {grade(server, "sum", ADD)["verdict"] for _ in range(6)} == {"WA"}
        assert server.request("DELETE", "/problems/sum").status == 204
        assert {server.request("GET", "/problems/sum").status for _ in range(30)} == {404}
        assert kept(server) == (0, 0)
