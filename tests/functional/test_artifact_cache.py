"""The artefact cache: what was compiled once runs at once, and nothing torn, foreign or outdated is ever run."""

import concurrent.futures
import contextlib
import pathlib
import sqlite3
import time

import pytest

from tests.server import START_S, Server, until

RUST = 'fn main() {{ println!("{}"); }}'
TYPESCRIPT = "const s: string = '{}';\nconsole.log(s);\n"


def code_of(language: str, word: str) -> str:
    return (RUST if language == "rust" else TYPESCRIPT).format(word)


@pytest.mark.parametrize("language", ["rust", "typescript"])
def test_the_second_time_nothing_is_compiled(cellblock: Server, language: str) -> None:
    code = code_of(language, f"seen {time.time_ns()}")
    first, second = (cellblock.execute(language, code) for _ in range(2))
    assert (first["cached"], second["cached"]) == (False, True)
    assert first["output"] == second["output"]
    assert second["compile_time"] == 0.0


def test_what_differs_is_compiled_anew(cellblock: Server) -> None:
    """The source by one blank; whether types are checked."""
    code = code_of("typescript", f"differs {time.time_ns()}")
    assert cellblock.execute("typescript", code)["cached"] is False
    assert cellblock.execute("typescript", code + " ")["cached"] is False
    assert cellblock.execute("typescript", code, check=False)["cached"] is False
    assert cellblock.execute("typescript", code)["cached"] is True


def test_files_beside_the_source_are_part_of_what_was_compiled(cellblock: Server) -> None:
    code = (
        'mod part;\nfn main() { println!("{} {}", part::NUMBER, std::fs::read_to_string("data").unwrap()); } // beside'
    )

    def run(number: int, data: str) -> tuple[str, bool]:
        files = [
            {"name": "part.rs", "content": f"pub const NUMBER: u32 = {number};"},
            {"name": "data", "content": data},
        ]
        answer = cellblock.execute("rust", code, files=files)
        return answer["output"], answer["cached"]

    assert run(1, "one") == ("1 one\n", False)
    assert run(1, "one") == ("1 one\n", True)
    assert run(2, "one") == ("2 one\n", False)
    assert run(1, "two") == ("1 two\n", False)


def test_a_compile_error_is_told_each_time(cellblock: Server) -> None:
    for _ in range(2):
        answer = cellblock.execute("rust", "fn main() { let x: u8 = ''; }")
        assert (answer["reason"], answer["cached"]) == ("compile_error", False)


@pytest.mark.slow
def test_a_setting_turns_it_off() -> None:
    with Server(languages=["rust"], artifact_memory_mb=0) as server:
        assert [server.execute("rust", code_of("rust", "off"))["cached"] for _ in range(2)] == [False, False]


@pytest.mark.slow
def test_it_outlives_the_process_and_a_torn_file_is_no_artefact() -> None:
    with Server(languages=["rust"]) as server:
        state = pathlib.Path(server.state)
        assert server.execute("rust", code_of("rust", "lasting"))["cached"] is False
        until(lambda: indexed(state) == 1, START_S, "it is on disk")
        server.http.kill()
        until(lambda: server.answers(), START_S)
        server.wait_healthy()
        assert server.execute("rust", code_of("rust", "lasting"))["cached"] is True
        server.http.kill()
        until(lambda: server.answers(), START_S)
        server.wait_healthy()
        for file in files(state):
            file.write_bytes(file.read_bytes()[:-100])
        answer = server.execute("rust", code_of("rust", "lasting"))
        assert (answer["cached"], answer["output"]) == (False, "lasting\n")


def files(state: pathlib.Path) -> list[pathlib.Path]:
    return list((state / "artifacts").rglob("*.val"))


def indexed(state: pathlib.Path) -> int:
    """How many the index on disk has, which it gets after the file."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{state}/artifacts/cache.db?mode=ro", uri=True)) as index:
            return int(index.execute("SELECT count(*) FROM Cache WHERE filename IS NOT NULL").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


@pytest.mark.slow
def test_it_is_bounded() -> None:
    with Server(languages=["typescript"], artifact_memory_mb=1, artifact_disk_mb=0) as server:
        big = "const s: string = '" + "x" * 60_000 + "';\nconsole.log({});\n"
        for number in range(30):
            assert server.execute("typescript", big.format(number))["output"] == f"{number}\n"
        assert server.execute("typescript", big.format(29))["cached"] is True
        assert server.execute("typescript", big.format(0))["cached"] is False


@pytest.mark.threat("F7")
@pytest.mark.slow
def test_two_hundred_compile_and_run_at_once(cellblock: Server) -> None:
    """No ETXTBSY, no artefact of another."""

    def one(number: int) -> bool:
        while True:
            answer = cellblock.post({"language": "rust", "code": code_of("rust", f"n{number % 50}")})
            if answer.status == 200:
                return bool(answer.json["output"] == f"n{number % 50}\n")
            assert answer.json["code"] == "queue_full", answer.text

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert all(pool.map(one, range(200)))
