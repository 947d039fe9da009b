"""Access: what needs which token, how often a client may ask, who the client is, and where nobody is let in."""

import collections.abc
import concurrent.futures
import json
import os
import pathlib
import pwd
import re
import subprocess
import sys
import tempfile

import pytest

from daemon import token_file
from daemon.api.access import OPEN
from tests.server import COMMAND, START_S, Answer, Server, until
from tests.small_packages import LEGACY, NEW, Files, with_files, zip_bytes

JSON = {"Content-Type": "application/json"}
HELLO = {"language": "python", "code": "print(1)"}
FITTING = with_files(
    NEW,
    {
        "problem.yaml": f"{NEW['problem.yaml']}limits:\n  time_limit: 0.4\n  memory: 64\n",
        "data/sample/1.ans": "1\n",
        "data/secret/01.ans": "1\n",
        "data/secret/02.ans": "1\n",
    },
)  # HELLO solves it


@pytest.fixture(autouse=True)
def _leaves_nothing() -> None:
    """These servers are their own."""


class Guarded:
    """A server with a file of tokens, behind a proxy whose word it takes."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.file = folder / "tokens.toml"
        self.runner = self.add(id="runner")
        self.small = self.add(id="small", memory_mb_max=64, timeout_s_max=1.0)
        self.keeper = self.add(id="keeper", scopes=("problems",))
        self.small_keeper = self.add(
            id="small-keeper", scopes=("problems", "grade"), memory_mb_max=64, timeout_s_max=4.0
        )
        self.watcher = self.add(id="watcher", scopes=("watch",))
        self.slow = self.add(id="slow", requests_per_minute=3)
        self.expired = self.add(id="old", expires="2020-01-01")
        self.server = Server(
            languages=["python"], tokens_file=self.file, trusted_proxies=["127.0.0.0/8"],
            requests_per_minute_of_address=3,
        )  # fmt: skip

    def add(self, **fields: object) -> str:
        made = token_file.make(token_file.known(self.file), **fields)
        token_file.append(self.file, made, pwd.getpwnam("cellblock").pw_gid)
        return made.text

    def execute(self, token: str | None = None, fields: object = HELLO, **headers: str) -> Answer:
        return self.server.post(fields, **bearer(token), **headers)

    def grade(self, token: str, path: str = "/grade", **fields: object) -> Answer:
        """HELLO on one test, unless the fields say otherwise; a field that is None is left out."""
        asked = {**HELLO, "tests": [{"input": "", "expected": "1"}], **fields}
        body = json.dumps({name: value for name, value in asked.items() if value is not None}).encode()
        return self.server.request("POST", path, body, {**JSON, **bearer(token)})

    def put(self, problem: str, package: Files, token: str | None = None) -> Answer:
        headers = {"Content-Type": "application/zip", **bearer(token or self.keeper)}
        return self.server.request("PUT", f"/problems/{problem}", zip_bytes(package), headers)

    def get(self, path: str, token: str | None = None) -> Answer:
        return self.server.request("GET", path, headers=bearer(token))


def bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def guarded() -> collections.abc.Iterator[Guarded]:
    """Its file is not in a folder of pytest's: another pytest that starts makes all of them private again."""
    with tempfile.TemporaryDirectory(prefix="cellblock-access-") as folder:
        pathlib.Path(folder).chmod(0o755)
        guarded = Guarded(pathlib.Path(folder))
        with guarded.server:
            yield guarded


def test_who_has_the_token_may_run_programs(guarded: Guarded) -> None:
    assert guarded.execute(guarded.runner).json["output"] == "1\n"
    odd = guarded.server.post(HELLO, Authorization=f"bEARER  {guarded.runner} ")
    assert odd.status == 200, "the scheme is a word of HTTP, whose case does not count"


@pytest.mark.parametrize(
    ("header", "code", "challenge"),
    [(None, "token_required", 'Bearer realm="cellblock"'), ("Basic eDp5", "invalid_token", "invalid_token"),
     ("Bearer", "invalid_token", "invalid_token"), ("Bearer cb_" + "0" * 64, "invalid_token", "invalid_token"),
     ("expired", "invalid_token", "The token has expired")],
)  # fmt: skip
def test_without_a_good_token_the_answer_is_401(
    guarded: Guarded, header: str | None, code: str, challenge: str
) -> None:
    header = f"Bearer {guarded.expired}" if header == "expired" else header
    answer = guarded.server.request(
        "POST", "/execute", b"{", JSON if header is None else {**JSON, "Authorization": header}
    )
    assert (answer.status, answer.json["code"], answer.json["status"]) == (401, code, 401)
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert challenge in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    ("method", "path", "token", "scope"),
    [("POST", "/execute", "keeper", "run"), ("POST", "/grade", "watcher", "grade"), ("GET", "/problems", "runner", "problems"),
     ("PUT", "/problems/x", "runner", "problems"), ("DELETE", "/problems/x", "runner", "problems"),
     ("POST", "/problems/x/grade", "keeper", "grade"), ("HEAD", "/problems", "runner", "problems")],
)  # fmt: skip
def test_what_a_token_is_not_for_is_403(guarded: Guarded, method: str, path: str, token: str, scope: str) -> None:
    answer = guarded.server.request(
        method, path, b"{}" if method == "POST" else None, {**JSON, **bearer(getattr(guarded, token))}
    )
    assert answer.status == 403
    assert f'error="insufficient_scope", scope="{scope}"' in answer.headers["WWW-Authenticate"]
    assert method == "HEAD" or answer.json["code"] == "insufficient_scope"


def test_every_endpoint_but_the_open_ones_needs_a_token(guarded: Guarded) -> None:
    index = guarded.get("/").json
    for endpoint in index["endpoints"]:
        method, path = endpoint.split()
        answer = guarded.server.request(method, path.replace("{id}", "x").replace("{file}", "page.js"))
        assert answer.status == (200 if path in OPEN else 401), endpoint
    assert guarded.get("/nowhere").status == 401
    assert guarded.get("/nowhere", guarded.runner).status == 404
    assert guarded.get("/languages", guarded.watcher).status == 200
    assert guarded.get("/problems", guarded.keeper).json == {"problems": []}


def test_health_tells_strangers_only_whether_it_is_well(guarded: Guarded) -> None:
    for token in (None, guarded.runner, guarded.expired, "cb_"):
        answer = guarded.get("/health", token)
        assert answer.status == 200 and set(answer.json) == {"status", "version"}
    assert "sandbox" in guarded.get("/health", guarded.watcher).json


def test_a_preflight_needs_no_token_and_allows_one(guarded: Guarded) -> None:
    headers = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
    answer = guarded.server.request("OPTIONS", "/execute", headers=headers)
    assert answer.status == 204
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    refused = guarded.execute(None, Origin="http://localhost:3000")
    assert refused.status == 401
    assert refused.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    assert "WWW-Authenticate" in refused.headers["Access-Control-Expose-Headers"]


def test_a_token_lowers_what_a_request_may_ask_for(guarded: Guarded) -> None:
    assert guarded.execute(guarded.small, {**HELLO, "timeout": 1}).status == 200
    for fields, said in (({"timeout": 2}, "at most 1 seconds"), ({"memory_limit_mb": 65}, "from 1 to 64")):
        answer = guarded.execute(guarded.small, {**HELLO, **fields})
        assert (answer.status, answer.json["code"]) == (400, "invalid_request")
        assert said in answer.json["detail"]
    hungry = guarded.execute(guarded.small, {**HELLO, "code": "x = bytearray(100 << 20)"})
    assert hungry.json["error"] == "Memory limit of 64 MB exceeded"
    refused = guarded.grade(guarded.small, limits={"cpu_time": 1, "memory_mb": 65})
    assert (refused.status, refused.json["errors"][0]["field"]) == (400, "limits.memory_mb")


def test_limits_that_nobody_asked_for_are_lowered_to_the_tokens(guarded: Guarded) -> None:
    assert guarded.grade(guarded.small).json["verdict"] == "AC"
    hungry = guarded.grade(guarded.small, code="x = bytearray(100 << 20)")
    assert (hungry.status, hungry.json["verdict"]) == (200, "MLE")
    slept = guarded.grade(guarded.small, code="import time\ntime.sleep(5)").json
    assert (slept["verdict"], slept["tests"][0]["reason"]) == ("TLE", "wall")
    assert 1 <= slept["tests"][0]["wall_time"] < 4


@pytest.mark.parametrize("code", ["x = bytearray(100 << 20)\nexit(42)", "import time\ntime.sleep(5)\nexit(42)"])
def test_a_checker_has_no_more_than_its_senders_token_allows(guarded: Guarded, code: str) -> None:
    """It is the judges' program that failed, so the verdict is IE; the token of nobody's limits accepts by it."""
    checker = {"kind": "custom", "language": "python", "code": code}
    assert guarded.grade(guarded.small, checker=checker).json["verdict"] == "IE"
    if "sleep" not in code:
        assert guarded.grade(guarded.runner, checker=checker).json["verdict"] == "AC"


def test_a_stored_problem_that_gives_more_than_the_token_is_refused(guarded: Guarded) -> None:
    """Lowered limits would make the verdict depend on who asks."""
    assert guarded.put("roomy", LEGACY).status == 201
    refused = guarded.grade(guarded.small_keeper, "/problems/roomy/grade", tests=None)
    assert (refused.status, refused.json["code"]) == (403, "above_token")
    assert "2048 MB of memory and 5 s of wall time; your token allows 64 MB of memory and 4 s" in refused.json["detail"]
    assert guarded.grade(guarded.runner, "/problems/roomy/grade", tests=None).json["verdict"] == "WA"


def test_what_a_package_brings_has_no_more_than_the_token_of_who_stores_it(guarded: Guarded) -> None:
    """Its accepted submissions are run for the time limit, and its validator judges what the client grades."""
    hungry = "x = bytearray(100 << 20)\n" + str(LEGACY["submissions/accepted/sum.py"])
    timed = with_files(LEGACY, {"submissions/accepted/sum.py": hungry})
    refused = guarded.put("timed", timed, guarded.small_keeper)
    assert (refused.status, refused.json["code"]) == (400, "invalid_package")
    assert "submissions/accepted/sum.py gets MLE" in refused.json["detail"]
    package = with_files(FITTING, {"output_validator/check.py": "x = bytearray(100 << 20)\nexit(42)\n"})
    assert guarded.put("judged", package).status == 201
    assert guarded.grade(guarded.small_keeper, "/problems/judged/grade", tests=None).json["verdict"] == "IE"
    assert guarded.grade(guarded.runner, "/problems/judged/grade", tests=None).json["verdict"] == "AC"


def test_a_token_that_sends_too_much_is_told_when_to_come_again(guarded: Guarded) -> None:
    headers = bearer(guarded.slow)
    answers = [guarded.server.request("GET", "/languages", headers=headers) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["RateLimit-Policy"] for answer in answers] == ['"token";q=3;w=60'] * 4
    assert [re.sub("t=.*", "", answer.headers["RateLimit"]) for answer in answers] == [
        f'"token";r={left};' for left in (2, 1, 0, 0)
    ]
    assert answers[3].json["code"] == "rate_limited"
    assert 1 <= int(answers[3].headers["Retry-After"]) <= 20
    assert guarded.get("/health", guarded.slow).status == 200, "open endpoints are not counted"
    assert guarded.execute(guarded.runner).status == 200, "others do not count"


def test_addresses_that_send_bad_tokens_are_told_apart_by_the_proxys_word(guarded: Guarded) -> None:
    def status(told: str) -> int:
        return guarded.execute("cb_" + "0" * 64, **{"X-Forwarded-For": told}).status

    assert [status("203.0.113.66, 198.51.100.7") for _ in range(4)] == [401, 401, 401, 429]
    assert status("198.51.100.8") == 401
    assert status("203.0.113.77, 198.51.100.7") == 429, "what the client wrote itself does not count"
    assert guarded.execute(guarded.runner, **{"X-Forwarded-For": "198.51.100.7"}).status == 200


@pytest.mark.slow
def test_a_token_that_is_added_is_valid_and_one_that_is_removed_is_not(guarded: Guarded) -> None:
    def tells(stale: int) -> bool:
        return f'\ncellblock_tokens_stale{{process="1"}} {stale}.0\n' in guarded.get("/metrics", guarded.watcher).text

    before = guarded.file.read_text()
    added = guarded.add(id="runner")
    until(lambda: guarded.execute(added).status == 200, START_S, "the file is read again")
    assert guarded.execute(guarded.runner).status == 200, "two tokens of one client overlap"
    guarded.file.write_text(f"{before}\n[[tokens]]\n")
    until(lambda: "tokens not read again" in guarded.server.error_text(), START_S, "a wrong file is told")
    assert guarded.execute(added).status == 200 and tells(stale=1)
    guarded.file.write_text(before)
    until(lambda: guarded.execute(added).status == 401, START_S, "the file is read again")
    until(lambda: tells(stale=0), START_S, "the tokens are those of the file")
    assert guarded.execute(guarded.runner).status == 200


def test_no_token_is_in_the_log(guarded: Guarded) -> None:
    guarded.execute(guarded.runner)
    guarded.execute("cb_" + "1" * 64)
    log = guarded.server.error_text()
    assert "cb_" not in log and guarded.file.read_text().split('"')[3] not in log


def test_one_client_cannot_keep_others_out() -> None:
    """Its runs take all slots and places. Another's goes at once, in a spare slot, and where those are taken, too, it takes
    a place from it, and its turn comes next."""
    busy = {"language": "python", "code": "import time; time.sleep(0.4)"}
    with (
        Server(
            languages=["python"],
            runs_at_once=2,
            queue=4,
            trusted_proxies=["127.0.0.1/32"],
            insecure_without_tokens=True,
        ) as server,
        concurrent.futures.ThreadPoolExecutor(8) as pool,
    ):
        queue = lambda: server.request("GET", "/health").json["queue"]  # noqa: E731
        of = lambda told, fields: server.post(fields, **{"X-Forwarded-For": told})  # noqa: E731
        greedy = [pool.submit(of, "198.51.100.1", busy) for _ in range(6)]
        until(lambda: queue() == {"running": 2, "waiting": 4}, START_S)
        full = of("198.51.100.1", HELLO)
        assert (full.status, full.json["code"]) == (503, "queue_full")
        in_between = pool.submit(of, "198.51.100.2", busy)
        until(lambda: queue() == {"running": 3, "waiting": 4}, START_S)
        assert of("198.51.100.3", HELLO).json["output"] == "1\n"
        assert in_between.result().status == 200
        answers = [one.result() for one in greedy]
        assert sorted(answer.status for answer in answers) == [200] * 5 + [429]
        (displaced,) = (answer for answer in answers if answer.status == 429)
        assert (displaced.json["code"], displaced.headers["Retry-After"]) == ("over_share", "1")


def test_it_does_not_listen_beyond_loopback_without_tokens() -> None:
    """Neither the supervisor, nor the HTTP process that systemd starts."""
    environment = {**os.environ, "CELLBLOCK_INSTANCE": f"test-{os.getpid()}-open", "CELLBLOCK_PORT": "0"}
    alone = [sys.executable, "-P", "-m", "daemon", "http"]
    for command, user, host in (([COMMAND, "serve"], "root", "0.0.0.0"), (alone, "cellblock", "::")):
        refused = subprocess.run(
            command, env={**environment, "CELLBLOCK_HOST": host}, user=user, cwd="/",
            capture_output=True, text=True, timeout=START_S, check=False,
        )  # fmt: skip
        assert refused.returncode == 125
        assert f"without tokens anybody who reaches {host} could run programs here" in refused.stderr


def test_a_file_of_tokens_that_is_wrong_stops_the_start(tmp_path: pathlib.Path) -> None:
    environment = {
        **os.environ,
        "CELLBLOCK_INSTANCE": f"test-{os.getpid()}-open",
        "CELLBLOCK_TOKENS_FILE": str(tmp_path / "x"),
    }
    refused = subprocess.run(
        [COMMAND, "serve", "--port", "0"], env=environment, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 125 and "No such file or directory" in refused.stderr


def test_the_command_makes_a_token_that_a_server_takes(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "tokens.toml"
    environment = {**os.environ, "CELLBLOCK_TOKENS_FILE": str(file)}

    def cellblock(*arguments: str) -> str:
        done = subprocess.run(
            [COMMAND, "token", *arguments], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    text = cellblock("new", "--id", "judge", "--scope", "grade", "--days", "30", "--comment", "of the contest").strip()
    assert file.stat().st_mode & 0o777 == 0o640 and file.stat().st_uid == 0
    assert pathlib.Path(file).group() == "cellblock"
    (known,) = token_file.known(file)
    assert (known.id, known.scopes, known.comment) == ("judge", {"grade"}, "of the contest")
    listed = cellblock("list").split()
    assert listed[:3] == ["judge", known.hash[:8], "grade"] and text not in listed
    printed = cellblock("new", "--print")
    assert len(token_file.known(file)) == 1 and "[[tokens]]" in printed
