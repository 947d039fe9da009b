"""How good what the other tests promise is: `sudo ./bootstrap test tests/performance`, on an idle machine."""

import concurrent.futures
import statistics
import threading
import time

import pytest

from tests.functional.test_stream import events
from tests.performance.conftest import Record
from tests.server import Server

TIMES = 20
SUM = "total = 0\nfor number in range(2_000_000): total += number"
AFTER_MAIN = {
    "python": "import time\nprint(time.monotonic())",
    "python, a grandchild has stdout": (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(30)\nprint(time.monotonic())"
    ),
    "typescript": "process.on('exit', () => console.log(Number(process.hrtime.bigint()) / 1e9));",
}
OVER_TIME = {"busy": "while True: pass", "asleep": "import time\ntime.sleep(60)"}


def record_all(record: Record, name: str, seconds: list[float]) -> None:
    record(f"{name}, median", statistics.median(seconds) * 1e3, "ms")
    record(f"{name}, most", max(seconds) * 1e3, "ms")


@pytest.mark.parametrize("program", AFTER_MAIN)
def test_from_a_programs_last_word_to_its_answer(cellblock: Server, record: Record, program: str) -> None:
    late = []
    for _ in range(TIMES):
        answer = cellblock.execute(program.partition(",")[0], AFTER_MAIN[program])
        late.append(time.monotonic() - float(answer["output"]))
    record_all(record, f"answer after the last word ({program})", late)


@pytest.mark.parametrize("program", OVER_TIME)
def test_from_a_wall_limit_to_its_answer(cellblock: Server, record: Record, program: str) -> None:
    late = []
    for _ in range(TIMES):
        answer, took_s = cellblock.execute_timed("python", OVER_TIME[program], timeout=0.2)
        assert answer["reason"] == "time_limit"
        late.append(took_s - 0.2)
    record_all(record, f"answer after a wall limit ({program})", late)


def test_from_a_line_of_output_to_its_event(cellblock: Server, record: Record) -> None:
    code = "import time\nfor _ in range(50):\n    print(time.time(), flush=True)\n    time.sleep(0.02)"
    seen = events(cellblock, language="python", code=code)
    record_all(
        record,
        "event after a line of output",
        [at - float(data["text"]) for name, data, at in seen if name == "stdout"],
    )


def test_what_neighbours_change_of_a_runs_cpu_time(cellblock: Server, record: Record) -> None:
    """Beside eight busy ones. A wrong verdict about a time limit begins here."""
    stop = threading.Event()

    def cpu_s() -> float:
        return statistics.median(float(cellblock.execute("python", SUM)["cpu_time"]) for _ in range(5))

    def spin() -> None:
        while not stop.is_set():
            cellblock.execute("python", "while True: pass", timeout=0.5)

    alone_s = cpu_s()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        neighbours = [pool.submit(spin) for _ in range(8)]
        try:
            beside_s = cpu_s()
        finally:
            stop.set()
        for neighbour in neighbours:
            neighbour.result()
    record("CPU of a run alone", alone_s * 1e3, "ms")
    record("CPU of a run beside eight busy ones", beside_s * 1e3, "ms")
    record("  of that alone", beside_s / alone_s, "times")
