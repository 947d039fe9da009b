"""The service that `./bootstrap install --service` made, under the systemd of a Debian 13 machine."""

import collections.abc
import concurrent.futures
import http.client
import json
import pathlib
import shutil
import signal
import ssl
import subprocess
import threading
import urllib.error
import urllib.request

import psutil
import pytest

from tests import small_packages
from tests.server import START_S, until

KEEPER, HTTP, SOCKET = "cellblock-keeper.service", "cellblock.service", "cellblock.socket"
MCP = "cellblock-mcp.service"  # installed, and not enabled
UNITS = (KEEPER, HTTP, SOCKET)
CLONE = pathlib.Path(__file__).parents[2]
CONFIG = pathlib.Path("/etc/cellblock")
TOKEN = pathlib.Path("/root/token")  # for tests/vm/after_reboot.py
INSTALLED = pathlib.Path("/usr/local/lib/systemd/system")
WATCHDOG_S, STOP_S = 20, 5  # shorter than the units say: minutes are dear here
EXPOSURE_MAX = 25  # tenths
SECRET = "nobody may read this in a log"
URL = "http://127.0.0.1:8000"
pytestmark = pytest.mark.vm


def systemctl(*arguments: str) -> str:
    return subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=True).stdout


def main_pid(unit: str) -> str:
    return systemctl("show", "-P", "MainPID", unit).strip()


def healthy() -> bool:
    try:
        return bool(urllib.request.urlopen(f"{URL}/health").status == 200)
    except (OSError, urllib.error.URLError):
        return False


def post(code: str, accept: str = "*/*", **fields: object) -> http.client.HTTPResponse:
    body = json.dumps({"language": "python", "code": code, **fields}).encode()
    headers = {"Content-Type": "application/json", "Accept": accept}
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(
            urllib.request.Request(f"{URL}/execute", body, headers)
        )
    except urllib.error.HTTPError as error:
        error.add_note(error.read().decode())
        raise
    return response


def execute(code: str, **fields: object) -> dict[str, object]:
    answer: dict[str, object] = json.load(post(code, **fields))
    return answer


def answers() -> bool:
    try:
        return execute("print(1)")["output"] == "1\n"
    except (OSError, urllib.error.URLError, http.client.HTTPException):
        return False


def version() -> str:
    """What /health says, also while the first self-tests are not over, which take long here."""
    try:
        answer = urllib.request.urlopen(f"{URL}/health")
    except urllib.error.HTTPError as unhealthy:
        answer = unhealthy
    told: str = json.load(answer)["version"]
    return told


def http_processes() -> list[str]:
    """Below the supervisor, their pids."""
    group = pathlib.Path("/sys/fs/cgroup") / systemctl("show", "-P", "ControlGroup", HTTP).strip().lstrip("/")
    pids = (group / "cgroup.procs").read_text().split()
    return [pid for pid in pids if "http" in pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0")]


def write_environment(*languages: str) -> None:
    (CONFIG / "environment").write_text(
        f"CELLBLOCK_LANGUAGES={json.dumps(languages)}\nCELLBLOCK_SELF_TEST_S=3600\nCELLBLOCK_PARKED_MAX=1\n"
        "CELLBLOCK_START_S=120\nCELLBLOCK_HTTP_PROCESSES=2\nCELLBLOCK_SILENCE_S=300\n"
    )


@pytest.fixture(scope="module")
def service() -> collections.abc.Iterator[None]:
    """The first start is slower here than the units foresee."""
    write_environment("python", "typescript")
    for unit in (KEEPER, HTTP):
        folder = pathlib.Path(f"/etc/systemd/system/{unit}.d")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "slow.conf").write_text(
            f"[Service]\nTimeoutStartSec=600\nWatchdogSec={WATCHDOG_S}\nTimeoutStopSec={STOP_S}\n"
        )
    systemctl("daemon-reload")
    systemctl("enable", *UNITS)
    subprocess.run(["systemctl", "start", *UNITS], check=False)
    try:
        until(healthy, START_S, "healthy under systemd")
    except AssertionError as error:
        raise AssertionError(
            subprocess.check_output(["journalctl", "--boot", "--unit=cellblock*"], text=True)
        ) from error
    yield
    systemctl("stop", *UNITS)
    assert not list(pathlib.Path("/sys/fs/cgroup").rglob("cellblock-serve"))


def test_systemd_has_no_objection_to_the_units() -> None:
    done = subprocess.run(["systemd-analyze", "verify", *UNITS, MCP], capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if "cellblock" in line]
    assert (done.returncode, ours) == (0, [])


@pytest.mark.parametrize("unit", [HTTP, MCP])
def test_what_listens_is_exposed_to_little(unit: str) -> None:
    """As systemd-analyze(1) counts it: 0 is nothing, 10 is all that root could do."""
    command = ["systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE_MAX}", "--no-pager"]
    done = subprocess.run([*command, INSTALLED / unit], capture_output=True, text=True, check=False)
    print(done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stdout


def test_programs_run_under_the_units(service: None) -> None:
    """Node too, whose V8 writes code that it then runs: healthy means that its self-test passed."""
    assert execute("print(6 * 7)")["output"] == "42\n"


def test_limits_hold_and_a_jail_without_memory_ends_nobody_else(service: None) -> None:
    before = main_pid(KEEPER)
    ends = {
        "time_limit": execute("while True: pass", timeout=2),
        "output_limit": execute("while True: print('x' * 1000)", timeout=60),
        "memory_limit": execute("x = bytearray(1 << 30)\nfor i in range(0, 1 << 30, 4096): x[i] = 1", timeout=60),
    }
    assert {name: answer["reason"] for name, answer in ends.items()} == {name: name for name in ends}
    assert main_pid(KEEPER) == before


def test_nginx_may_connect_by_the_path_and_no_other_user(service: None) -> None:
    path = pathlib.Path("/run/cellblock/http.sock")
    assert (path.stat().st_mode & 0o777, path.group()) == (0o660, "www-data")


def test_a_problem_package_is_stored_under_the_units(service: None) -> None:
    """The process that reads it confines itself with system calls that the unit must allow. It stays there: see below."""
    url = f"{URL}/problems/sum"
    files = {**small_packages.LEGACY, ".timelimit": "1\n"}
    headers = {"Content-Type": "application/zip"}
    request = urllib.request.Request(url, small_packages.zip_bytes(files), headers, method="PUT")
    assert urllib.request.urlopen(request).status == 201


def test_several_http_processes_run_below_one_unit(service: None) -> None:
    """A supervisor and what it starts, none of them root, none with a capability or another network than its own."""
    pids = [main_pid(HTTP), *http_processes()]
    assert len(pids) == 3
    host = pathlib.Path("/proc/1/ns/net").readlink()
    for pid in pids:
        process = pathlib.Path(f"/proc/{pid}")
        assert process.stat().st_uid != 0
        assert "CapEff:\t0000000000000000" in (process / "status").read_text()
        assert (process / "ns/net").readlink() != host


def test_jails_are_below_the_keepers_delegated_group(service: None) -> None:
    (group,) = pathlib.Path("/sys/fs/cgroup").rglob("cellblock-serve")
    assert group.parent.name == KEEPER
    assert {"cpu", "memory", "pids"} <= set((group / "cgroup.subtree_control").read_text().split())


def victim_of(name: str) -> psutil.Process:
    """The first process of the service that has this part."""
    match name:
        case "keeper":
            return psutil.Process(int(main_pid(KEEPER)))
        case "supervisor":
            return psutil.Process(int(main_pid(HTTP)))
        case "HTTP process":
            return psutil.Process(int(http_processes()[0]))
        case _:
            children = psutil.Process(int(main_pid(KEEPER))).children()
            nsjail = next(child for child in children if child.name() == "nsjail" and child.children())
            return nsjail.children()[0]


@pytest.mark.parametrize("name", ["keeper", "supervisor", "HTTP process", "warden"])
def test_what_is_killed_comes_back_and_leaves_nothing(service: None, name: str) -> None:
    victim = victim_of(name)
    of_it = [victim, *victim.children(recursive=True)]
    victim.kill()
    until(lambda: not [one for one in of_it if one.is_running()], START_S, "all of its processes are gone")
    until(answers, START_S, "a program runs again")
    until(lambda: len(http_processes()) == 2, START_S, "both answer again")


def test_what_is_stopped_is_started_anew_and_the_socket_answers_meanwhile(service: None) -> None:
    """The watchdog of both units; the request waits in the socket for the next HTTP process."""
    before = {unit: main_pid(unit) for unit in (KEEPER, HTTP)}
    for unit in before:
        systemctl("kill", f"--signal={signal.SIGSTOP}", "--kill-whom=all" if unit == HTTP else "--kill-whom=main", unit)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(until, answers, WATCHDOG_S + START_S, "answered")
        for unit, pid in before.items():
            until(
                lambda unit=unit, pid=pid: main_pid(unit) not in (pid, "0"), WATCHDOG_S + START_S, f"{unit} is another"
            )
            assert systemctl("show", "-P", "NRestarts", unit).strip() != "0"
        waiting.result()


def test_an_http_process_without_memory_is_started_anew(service: None) -> None:
    before = set(http_processes())
    systemctl("set-property", "--runtime", HTTP, "MemoryMax=30M")
    until(lambda: not before & set(http_processes()), START_S, "the kernel has killed both")
    systemctl("set-property", "--runtime", HTTP, "MemoryMax=25%")
    until(answers, START_S, "a program runs again")


def install(clone: pathlib.Path, *arguments: str) -> None:
    done = subprocess.run([clone / "bootstrap", "install", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def demand_kept(kept: dict[pathlib.Path, bytes]) -> None:
    """What the administrator wrote, and what clients stored."""
    assert {path: path.read_bytes() for path in kept} == kept
    assert urllib.request.urlopen(f"{URL}/problems/sum").status == 200


@pytest.mark.slow
def test_an_upgrade_under_load_keeps_config_and_state_and_loses_no_request(
    service: None, tmp_path: pathlib.Path
) -> None:
    """Nor a run that goes on for longer than TimeoutStopSec: the process asks systemd for the time, and the keeper stops last."""
    clone = tmp_path / "clone"
    shutil.copytree(CLONE, clone)
    project = clone / "pyproject.toml"
    project.write_text(project.read_text().replace('version = "0.1.0"', 'version = "0.1.1"'))
    with (CONFIG / "cellblock.toml").open("a") as file:
        file.write("drain_s = 120\n")
    subprocess.run(["cellblock", "token", "new", "--id", "kept"], capture_output=True, check=True)
    kept = {path: path.read_bytes() for path in CONFIG.iterdir() if path.is_file()}
    install(clone)  # takes as long as it takes, while the one before answers
    stop = threading.Event()
    long = "import time; print('began', flush=True); time.sleep(50); print('ended')"

    def ask() -> list[object]:
        outputs = []
        while not stop.is_set():
            outputs.append(execute("print(6 * 7)")["output"])
        return outputs

    with concurrent.futures.ThreadPoolExecutor(2) as pool, post(long, timeout=60, accept="text/event-stream") as events:
        clients = [pool.submit(ask) for _ in range(2)]
        try:
            while b"began" not in events.readline():
                pass
            install(clone, "--service")
            execute("print(1)")
        finally:
            stop.set()
        rest = events.read()
        assert b"ended" in rest and b"event: result" in rest
        outputs = [output for client in clients for output in client.result()]
    assert outputs and set(outputs) == {"42\n"}
    assert version() == "0.1.1"
    demand_kept(kept)


def give_up_the_http_process() -> pathlib.Path:
    """As systemd does after too many starts. Returns the file that makes it so soon, which is the caller's to remove."""
    file = pathlib.Path(f"/run/systemd/system/{HTTP}.d/limit.conf")
    file.parent.mkdir(parents=True, exist_ok=True)
    limit = "[Unit]\nStartLimitIntervalSec=1h\nStartLimitBurst=2\n"
    file.write_text(f"{limit}[Service]\nExecStart=\nExecStart=/bin/false\n")
    systemctl("daemon-reload")
    subprocess.run(["systemctl", "restart", HTTP], capture_output=True, check=False)
    until(lambda: systemctl("show", "-P", "ActiveState", HTTP).strip() == "failed", START_S, "systemd gave it up")
    file.write_text(limit)
    return file


@pytest.mark.slow
def test_an_upgrade_starts_what_systemd_had_given_up_and_listens_where_the_new_socket_says(
    service: None, tmp_path: pathlib.Path
) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(CLONE, clone)
    unit, address = clone / "systemd" / SOCKET, "ListenStream=127.0.0.1:800"
    unit.write_text(unit.read_text().replace(f"{address}0\n", f"{address}0\n{address}1\n"))
    write_environment("python")  # starts sooner
    kept = {path: path.read_bytes() for path in CONFIG.iterdir() if path.is_file()}
    limit = give_up_the_http_process()
    install(clone, "--service")
    limit.unlink()
    systemctl("daemon-reload")
    assert urllib.request.urlopen("http://127.0.0.1:8001/health/ready").status == 200
    demand_kept(kept)


def test_a_large_body_is_parsed_by_a_process_of_its_own_within_the_unit(service: None) -> None:
    """The unit allows that process its priority, its limits and its memfds."""
    text = "x" * (1 << 20)
    assert execute("print(len(input()))", stdin=text)["output"] == f"{len(text)}\n"


def test_prometheus_reads_the_descriptors_and_memory_of_each_http_process(service: None) -> None:
    """The unit hides /proc/stat (ProcSubset=pid)."""
    names = ("open_fds", "max_fds", "resident_memory_bytes", "cpu_seconds_total", "start_time_seconds")
    wanted = {f'process_{name}{{process="{number}"}}' for name in names for number in (1, 2)}

    def told() -> set[str]:
        page = urllib.request.urlopen(f"{URL}/metrics").read().decode()
        return {line.split()[0] for line in page.splitlines() if line.startswith("process_")}

    until(lambda: wanted <= told(), START_S, "both processes are told")


def test_the_journal_has_json_and_no_source(service: None) -> None:
    execute(f"raise SystemExit('{SECRET}')", stdin=SECRET)
    for unit in (KEEPER, HTTP):
        command = ["journalctl", "--boot", "--quiet", "--output=cat", f"_SYSTEMD_UNIT={unit}"]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        assert not [line for line in lines if not line.startswith("{") or not isinstance(json.loads(line), dict)]
        assert not [line for line in lines if SECRET in line]


UNINSTALL = r"""
set -e
for folder in /etc /usr/local /var/lib/cellblock; do
  mkdir -p "$0/upper$folder" "$0/work$folder"
  mount -t overlay overlay -o "lowerdir=$folder,upperdir=$0/upper$folder,workdir=$0/work$folder" "$folder"
done
mkdir -p /var/lib/cellblock/small/{venv/bin,venvs,toolchains,stamps,languages}
ln -sfn /var/lib/cellblock/small/venv/bin/cellblock /usr/local/bin/cellblock
CELLBLOCK_PREFIX=/var/lib/cellblock/other /src/bootstrap uninstall
systemctl is-active --quiet cellblock   # a service of another prefix is not touched
sed -i 's|/var/lib/cellblock/venv|/var/lib/cellblock/small/venv|' /usr/local/lib/systemd/system/cellblock*.service
CELLBLOCK_PREFIX=/var/lib/cellblock/small /src/bootstrap uninstall
[ -e /etc/cellblock/cellblock.toml ] && [ -d /var/lib/cellblock/state ]
rm /var/lib/cellblock/venv   # without a service, what has no prefix in its name would be the usual prefix's
CELLBLOCK_PREFIX=/var/lib/cellblock/small /src/bootstrap uninstall --purge
find /etc /usr/local /var/lib/cellblock/small /var/lib/cellblock/state -name '*cellblock*' || true
user=$(id -u cellblock 2> /dev/null || echo none)
grep -qs "^Uid:[[:space:]]$user[[:space:]]" /proc/[0-9]*/status || getent passwd cellblock || true   # who runs stays
"""


def test_uninstall_leaves_nothing(service: None, tmp_path: pathlib.Path) -> None:
    """In file systems laid over those of the machine, so that the next tests have what it removes."""
    systemctl("start", HTTP)  # waits for a start under way: the test before may have left one
    mounted = ["unshare", "--mount", "bash", "-c", UNINSTALL, "/dev/shm"]
    done = subprocess.run(mounted, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
    systemctl("enable", *UNITS)  # systemd itself has disabled them, in the machine's own files


@pytest.mark.slow
def test_what_an_nginx_refuses_is_taken_back(service: None) -> None:
    subprocess.run(["cellblock", "token", "new", "--id", "nginx"], capture_output=True, check=True)
    site, settings = pathlib.Path("/etc/nginx/cellblock"), CONFIG / "cellblock.toml"
    before = settings.read_text()
    site.mkdir(parents=True)
    (site / "upstream.conf").write_text("nonsense;\n")
    assert subprocess.run([CLONE / "nginx/install", "localhost"], check=False).returncode == 1
    assert [path.name for path in site.iterdir()] == ["upstream.conf"]
    assert settings.read_text() == before
    (site / "upstream.conf").unlink()


@pytest.mark.slow
def test_tokens_that_only_root_can_read_change_nothing(service: None) -> None:
    subprocess.run(["cellblock", "token", "new", "--id", "root"], capture_output=True, check=True)
    settings, tokens = CONFIG / "cellblock.toml", CONFIG / "tokens.toml"
    before, mode = settings.read_text(), tokens.stat().st_mode
    tokens.chmod(0o600)
    assert subprocess.run([CLONE / "nginx/install", "localhost"], check=False).returncode == 1
    assert settings.read_text() == before
    tokens.chmod(mode)


def test_nginx_speaks_tls_and_lets_nobody_in_without_a_token(service: None) -> None:
    """As docs/deploy.md says it. The last test here, because the service needs a token from now on."""
    command = ["cellblock", "token", "new", "--id", "user", "--scope", "run", "--scope", "problems"]
    token = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    command = ["cellblock", "token", "new", "--id", "hasty", "--scope", "watch"]
    hasty = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    with (CONFIG / "tokens.toml").open("a") as file:
        file.write("requests_per_minute = 2\n")
    subprocess.run([CLONE / "nginx/install", "localhost"], check=True)
    trust = ssl.create_default_context(cafile="/etc/nginx/cellblock/tls/fullchain.pem")

    def ask(path: str, body: str | None = None, **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPSConnection("localhost", context=trust, timeout=START_S)
        connection.request(
            "GET" if body is None else "POST", path, body, {"Content-Type": "application/json", **headers}
        )
        return connection.getresponse()

    program = json.dumps({"language": "python", "code": "print(6 * 7)"})
    assert ask("/execute", program).status == 401
    response = ask("/execute", program, Authorization=f"Bearer {token}")
    assert json.load(response)["output"] == "42\n"
    assert response.headers["Server"] == "nginx"
    answers = [ask("/languages", Authorization=f"Bearer {hasty}") for _ in range(5)]  # two processes allow one each
    refused = [answer for answer in answers if answer.status == 429]
    assert 3 <= len(refused) < 5
    assert all(int(answer.headers["Retry-After"]) > 0 and "RateLimit" in answer.headers for answer in refused)
    TOKEN.write_text(token)
