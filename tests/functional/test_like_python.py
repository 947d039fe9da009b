"""A program in a warm interpreter cannot tell it from `python3 main.py`: both run the same programs, in the same jail.

The cold server runs the step as a command (warm = "exec"), the warm one as it is shipped; a third parks a fresh
interpreter for each run (warm = "preload").
"""

import collections.abc
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
from typing import Any

import pytest

from tests import posture
from tests.server import START_S, Server, readable, until

PROGRAMS = pathlib.Path(__file__).parents[1] / "like_python"
SHIPPED = pathlib.Path(__file__).parents[2] / "toolchains"
STDIN = "first line\nsecond é\n\nlast"
COMPARED = ("stdout", "stderr", "output_base64", "exit_code", "signal", "reason", "error")


def variant(folder: pathlib.Path, warm: str) -> Server:
    text = (SHIPPED / "python.toml").read_text()
    shutil.copytree(SHIPPED / "python", folder / "python")
    (folder / "python.toml").write_text(text.replace('warm = "fork"', f'warm = "{warm}"'))
    return Server(toolchain_folders=[str(readable(folder))])


@pytest.fixture(scope="module")
def cold(tmp_path_factory: pytest.TempPathFactory) -> collections.abc.Iterator[Server]:
    with variant(tmp_path_factory.mktemp("cold"), "exec") as server:
        yield server


@pytest.fixture(scope="module")
def parked(tmp_path_factory: pytest.TempPathFactory) -> collections.abc.Iterator[Server]:
    with variant(tmp_path_factory.mktemp("parked"), "preload") as server:
        yield server


def facts(server: Server, path: pathlib.Path) -> dict[str, Any]:
    answer = server.execute("python", path.read_bytes().decode(), stdin=STDIN, args=["one", "two words", "ünï"])
    return {name: without_addresses(answer.get(name)) for name in COMPARED}


def without_addresses(value: Any) -> Any:
    return re.sub(r"0x[0-9a-f]+|\b\d{10,}\b", "ADDRESS", value) if isinstance(value, str) else value


@pytest.mark.parametrize("path", sorted(PROGRAMS.glob("*.py")), ids=lambda path: path.stem)
def test_a_warm_run_is_like_a_cold_one(cellblock: Server, cold: Server, path: pathlib.Path) -> None:
    assert facts(cellblock, path) == facts(cold, path)


@pytest.mark.parametrize("path", sorted(PROGRAMS.glob("*.py")), ids=lambda path: path.stem)
def test_a_parked_interpreter_is_like_a_cold_one(parked: Server, cold: Server, path: pathlib.Path) -> None:
    assert facts(parked, path) == facts(cold, path)


def test_what_is_compared_is_the_short_way_out(cellblock: Server) -> None:
    """A Python whose end usercustomize.py does not recognize would be compared with itself.

    Its short way ends with os._exit, which this program can hear. After an exception 3.11 takes it and 3.13, which
    prints by way of the module traceback, does not.
    """
    code = "import os\nos._exit = lambda status: os.write(1, b'short %d' % status)"
    assert cellblock.execute("python", code)["stdout"] == "short 0"


@pytest.mark.threat("T7")
def test_figures_agree(cellblock: Server, cold: Server, parked: Server) -> None:
    """Memory within 2 MB. Median of a few: the first may pay for the page cache."""
    code = "data = [bytes(1000) for _ in range(20_000)]\nprint(len(data))"
    memory = [
        sorted(server.execute("python", code)["memory_bytes"] for _ in range(5))[2]
        for server in (cellblock, cold, parked)
    ]
    assert max(memory) - min(memory) < 2 << 20, memory


RANDOM = """
import json, multiprocessing, os, random, secrets, ssl, tempfile, uuid
print(json.dumps({
    "random": random.random(), "a new Random": random.Random().random(), "SystemRandom": random.SystemRandom().random(),
    "urandom": os.urandom(8).hex(), "secrets": secrets.token_hex(), "uuid1": str(uuid.uuid1()), "uuid4": str(uuid.uuid4()),
    "tempfile": tempfile.mktemp(), "OpenSSL": ssl.RAND_bytes(8).hex(),
    "multiprocessing": bytes(multiprocessing.current_process().authkey).hex(),
}))
"""


@pytest.mark.threat("D2")
def test_randomness_differs_between_forks(cellblock: Server) -> None:
    seen = [json.loads(cellblock.execute("python", RANDOM)["output"]) for _ in range(20)]
    for source in seen[0]:
        assert len({one[source] for one in seen}) == len(seen), source


@pytest.mark.slow
def test_a_warden_is_replaced_by_count_and_nobody_notices() -> None:
    """Forks of one warden share their hash seed; those of the next have another."""
    with Server(languages=["python"], warden_runs_max=20) as server:
        seeds: set[str] = set()

        def are_several() -> bool:
            seeds.add(server.execute("python", "print(hash('seed'))")["output"])
            return len(seeds) >= 2

        until(are_several, START_S)


def test_memory_of_parked_jails_is_bounded() -> None:
    with Server(languages=["python"], parked_mb_max=0) as server:
        sandbox = server.request("GET", "/health").json["sandbox"]
        assert sandbox["parked"]["python/run"]["parked"] <= 2
        assert server.execute("python", "print(1)")["output"] == "1\n"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["python3", "MainThread", "compile", "rustc"])
def test_a_parked_program_that_dies_is_replaced(cellblock: Server, command: str) -> None:
    """Node calls itself MainThread."""
    posture.take(cellblock)
    before = processes(cellblock, command)
    assert before
    for line in before:
        with contextlib.suppress(ProcessLookupError):  # a self-test had it, and it has ended
            os.kill(int(line.split()[0]), signal.SIGKILL)

    def are_replaced() -> bool:
        now = processes(cellblock, command)
        return len(now) == len(before) and not set(now) & set(before)

    until(are_replaced, START_S, "they are replaced")
    for language, code in HEALED.items():
        assert cellblock.execute(language, code)["output"] == "healed\n"
    posture.take(cellblock)
    assert len(processes(cellblock, command)) == len(before)


HEALED = {
    "python": "print('healed')",
    "typescript": "console.log('healed')",
    "rust": 'fn main() { println!("healed"); }',
}


def processes(server: Server, command: str) -> list[str]:
    return [line for line in posture.jail_processes(server) if line.endswith(command)]
