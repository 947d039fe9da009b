"""Judge0's dialect, without a server: what a body means, what is wrong with it, what an end is called, how it is stored."""

import asyncio
import contextlib
import dataclasses
import io
import pathlib
import sqlite3
import zipfile
from collections.abc import Iterable

import pytest

from daemon.api.parsing import NotTheModel, parse
from daemon.dialects.judge0 import answers, archive, database, journal, outcome, shown, wanted
from daemon.dialects.judge0.database import Capacity, NoRoom
from daemon.dialects.judge0.job import Job, Options
from daemon.dialects.judge0.models import EncodedBody, SubmissionBody
from daemon.dialects.judge0.outcome import Facts, Outcome, Status
from daemon.dialects.judge0.store import Store
from daemon.dialects.judge0.work import Crew
from daemon.judge.submission import Reason, Report
from daemon.sandbox.model import Limits
from daemon.sandbox.order import SandboxUnavailable
from daemon.settings import Settings
from daemon.toolchain import registry

SHIPPED = pathlib.Path(__file__).parents[2] / "toolchains"
TOOLCHAINS = registry.load([SHIPPED, SHIPPED / "languages"])
OPTIONS = Options(1, 5.0, 1.0, 10.0, 131072, 65536, 64, 1024)
JOB = Job("python", 71, b"print(1)", None, None, None, OPTIONS)
BOUNDS = wanted.Bounds.of(Limits(1 << 28, 10**10, 64), Limits(1 << 28, 10**10, 64), 64, 1 << 20)
RAN = Report(Reason.EXITED, None, b"1\n", b"", 0, None, 2_000_000, 1_000_000, 0, 4096, False)


def test_a_body_may_have_texts_for_numbers_and_fields_of_a_newer_version() -> None:
    body = parse(b'{"language_id": "71", "cpu_time_limit": "0.5", "newer": [1]}', SubmissionBody)
    assert wanted.language_id(body) == 71


def test_base64_may_have_lines_and_must_be_base64() -> None:
    assert parse(b'{"source_code": "cHJp\\nbnQ="}', EncodedBody).source_code == b"print"
    with pytest.raises(NotTheModel, match="not base64"):
        parse(b'{"source_code": "cHJpbnQ"}', EncodedBody)


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [({}, Status.ACCEPTED, None),
     ({"exit_code": 3}, Status.NZEC, "Exited with error status 3"),
     ({"cpu_ns": 5_500_000_000}, Status.TIME_LIMIT_EXCEEDED, "Time limit exceeded"),
     ({"reason": Reason.TIME_LIMIT, "exit_code": None}, Status.TIME_LIMIT_EXCEEDED, "Time limit exceeded (wall clock)"),
     ({"reason": Reason.SIGNAL, "signal": 11}, Status.SIGSEGV, "Caught fatal signal 11"),
     ({"reason": Reason.SIGNAL, "signal": 15}, Status.OTHER, "Caught fatal signal 15"),
     ({"reason": Reason.OUTPUT_LIMIT, "error": "Output"}, Status.SIGXFSZ, "Output")],
)  # fmt: skip
def test_each_end_has_its_status(changes: dict[str, object], status: Status, message: str | None) -> None:
    found = outcome.of_report(dataclasses.replace(RAN, **changes), OPTIONS, None, None)
    assert (found.status, found.facts.message) == (status, message)


@pytest.mark.parametrize(
    ("expected", "same"), [(b"1", True), (b"1 \n\n", True), (b"1\n\n2", False), (b"\n1\n", False), (b" 1", False)]
)
def test_blanks_at_the_ends_of_lines_and_empty_lines_at_the_end_do_not_count(expected: bytes, same: bool) -> None:
    assert outcome.is_same(expected, b"1\n") is same


def test_a_zip_is_read_or_refused_whole() -> None:
    def zipped(*files: tuple[str, str]) -> bytes:
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
            for name, text in files:
                file.writestr(name, text)
        return made.getvalue()

    (file,) = archive.read(zipped(("./a/b.txt", "hello")), 5)
    assert (file.name, file.content) == ("a/b.txt", b"hello")
    for bad in (b"", b"PK", zipped(("../a", "x")), zipped(("a", "x" * 6)), zipped(*((str(n), "") for n in range(101)))):
        with pytest.raises(archive.BadArchive):
            archive.read(bad, 5)


def test_fields_are_the_default_ones_or_those_that_are_named() -> None:
    assert shown.wanted(None) == shown.DEFAULT
    assert shown.wanted("stdout,status_id") == ("stdout", "status_id")
    with pytest.raises(shown.BadFields, match=r"invalid fields: \[nothing\]"):
        shown.wanted("stdout,nothing")


async def test_what_was_accepted_is_there_after_the_store_was_opened_again(tmp_path: pathlib.Path) -> None:
    """A submission that was under way waits again; its end, once written, never changes."""
    capacity = Capacity(2, 10, 1 << 20, 60, 1000)
    async with Store.opened(tmp_path / "store", capacity) as store:
        (token,) = await store.accept("a", [JOB])
        taken = await store.take(2)
        assert taken is not None and (taken.token, taken.tries) == (token, 1) and await store.take(2) is None
    async with Store.opened(tmp_path / "store", capacity) as store:
        again = await store.take(2)
        assert again is not None and (again.token, again.tries, again.job) == (token, 1, JOB)
        assert await store.finish(again, Outcome(Status.ACCEPTED, b"1\n"))
        assert not await store.finish(again, Outcome(Status.WRONG_ANSWER, b"2\n"))
        found = (await store.find([token], "a", ("stdout",)))[token]
        assert (found.outcome.status, found.outcome.stdout) == (Status.ACCEPTED, b"1\n")
        assert not await store.find([token], "b", ())


async def test_no_more_wait_than_may(tmp_path: pathlib.Path) -> None:
    async with Store.opened(tmp_path / "store", Capacity(2, 10, 1 << 20, 60, 1000)) as store:
        await store.accept("a", [JOB])
        with pytest.raises(NoRoom):
            await store.accept("a", [JOB, JOB])
        await store.accept("b", [JOB])


async def test_a_run_whose_end_could_not_be_written_is_run_again(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease runs out, however long this process lives and renews those of what it runs."""

    def fail(*_: object, **__: object) -> int:
        raise sqlite3.OperationalError("database is locked")

    def lease_s() -> float:
        with contextlib.closing(sqlite3.connect(tmp_path / "store")) as db:
            return float(db.execute("SELECT leased_until FROM submission").fetchone()[0])

    async with Store.opened(tmp_path / "store", Capacity(2, 10, 1 << 20, 60, 1000)) as store:
        await store.accept("a", [JOB])
        taken = await store.take(2)
        assert taken is not None
        first = lease_s()
        await store.renew()
        renewed = lease_s()
        assert renewed > first
        with monkeypatch.context() as patched, pytest.raises(SandboxUnavailable):
            patched.setattr(database, "write", fail)
            await store.finish(taken, Outcome(Status.ACCEPTED))
        await store.renew()
        assert lease_s() == renewed


async def test_what_has_been_told_gives_way_to_a_client_that_has_little(tmp_path: pathlib.Path) -> None:
    """Neither one that has more but has been told nothing, nor many that share all of it, shut others out."""
    size = JOB.size + 1000
    async with Store.opened(tmp_path / "store", Capacity(100, 1000, 40 * size, 60, 1000)) as store:
        await store.accept("untold", [JOB] * 20)
        for client in "abcdefgh":
            for _ in range(20):
                await store.keep(client, JOB, Outcome(Status.ACCEPTED, b"x" * 1000))
        await store.accept("z", [JOB])
        tokens, count = await store.page("untold", 0, 50)
        assert (len(tokens), count) == (20, 20)


async def test_work_goes_on_after_a_row_that_cannot_be_read() -> None:
    found: asyncio.Queue[str] = asyncio.Queue()
    waiting: list[str | Exception] = ["second", TypeError("unexpected keyword argument")]

    async def take() -> str | None:
        match waiting.pop() if waiting else None:
            case Exception() as error:
                raise error
            case item:
                return item

    working = asyncio.create_task(Crew(1, take, found.put).work())
    try:
        async with asyncio.timeout(10):
            assert await found.get() == "second"
    finally:
        working.cancel()
        await asyncio.wait([working])


async def test_a_client_with_many_that_are_under_way_leaves_places_to_others(tmp_path: pathlib.Path) -> None:
    """Twenty runs of a minute, four of them under way, kept everybody else waiting for twenty minutes."""
    async with Store.opened(tmp_path / "store", Capacity(10, 10, 1 << 20, 60, 1000)) as store:
        await store.accept("a", [JOB] * 3)
        for _ in range(2):
            assert await store.take(2) is not None
        assert await store.take(2) is None
        await store.accept("b", [JOB])
        taken = await store.take(2)
        assert taken is not None and taken.client == "b"


async def test_what_was_answered_is_found_at_once_by_all_processes(tmp_path: pathlib.Path) -> None:
    capacity = Capacity(2, 10, 1 << 20, 60, 1000)
    async with Store.opened(tmp_path / "store", capacity) as store, Store.opened(tmp_path / "store", capacity) as other:
        kept = await store.keep("a", JOB, Outcome(Status.ACCEPTED, b"1\n"))
        size, found = await other.look([kept.token], "a", ("stdout",))
        assert found is not None and (size, found[kept.token].outcome) == (2, kept.outcome)
        assert await store.page("a", 0, 5) == ([kept.token], 1), "it is there once"
    assert not list((tmp_path / "judge0-answered").iterdir())


async def test_what_was_removed_does_not_come_back_from_the_process_that_answered_it(tmp_path: pathlib.Path) -> None:
    capacity = Capacity(2, 10, 1 << 20, 60, 1000)
    async with Store.opened(tmp_path / "store", capacity) as other:
        async with Store.opened(tmp_path / "store", capacity) as store:
            kept = await store.keep("a", JOB, Outcome(Status.ACCEPTED, b"1\n"))
            assert (await other.look([kept.token], "a", ()))[1]
            assert await other.remove(kept.token)
            kept = await store.keep("a", JOB, Outcome(Status.ACCEPTED, b"2\n"))
            assert (await other.look([kept.token], "a", ()))[1]
            assert await store.remove(kept.token)
        assert await other.page("a", 0, 5) == ([], 0)


def test_what_a_killed_process_left_is_taken_up_to_its_last_whole_record(tmp_path: pathlib.Path) -> None:
    taken: list[journal.Row] = []
    db = sqlite3.connect(":memory:")
    killed = journal.Journal(tmp_path / "answered", lambda _, rows: taken.extend(rows))
    killed.open(db)
    assert killed.add({"token": "a"}) and killed.add({"token": "b"}) and not killed.add({"stdout": bytes(1 << 20)})
    (written,) = [path for path in (tmp_path / "answered").iterdir() if path.stat().st_size]
    (tmp_path / "answered" / "left").write_bytes(written.read_bytes()[:-1])
    journal.Journal(tmp_path / "answered", lambda _, rows: taken.extend(rows)).open(db)
    assert taken == [{"token": "a"}] and not (tmp_path / "answered" / "left").exists()
    assert written.exists(), "it is of a process that lives"


def test_what_could_not_be_put_into_the_database_is_put_there_later(tmp_path: pathlib.Path) -> None:
    taken: list[str] = []
    full = True

    def put(_: sqlite3.Connection, rows: Iterable[journal.Row]) -> None:
        if full:
            raise sqlite3.OperationalError("database or disk is full")
        taken.extend(row["token"] for row in rows)

    db = sqlite3.connect(":memory:")
    one = journal.Journal(tmp_path / "answered", put)
    one.open(db)
    for token in "ab":
        assert one.add({"token": token})
        with pytest.raises(sqlite3.OperationalError):
            one.fold(db)
    full = False
    one.close(db)
    assert taken == ["a", "b"] and not list((tmp_path / "answered").iterdir())


async def test_what_is_older_than_it_is_kept_is_gone(tmp_path: pathlib.Path) -> None:
    async with Store.opened(tmp_path / "store", Capacity(2, 10, 1 << 20, 0.0, 1000)) as store:
        (token,) = await store.accept("a", [JOB])
        assert not await store.find([token], "a", ())
        assert not await store.expire()
        assert await store.page("a", 0, 5) == ([], 0)


async def test_where_as_many_are_kept_as_may_be_those_that_were_told_give_way(tmp_path: pathlib.Path) -> None:
    """An answer that nobody has asked for is never given up for a new submission."""
    async with Store.opened(tmp_path / "store", Capacity(9, 2, 1 << 20, 60, 1000)) as store:
        (token,) = await store.accept("a", [JOB])
        taken = await store.take(2)
        assert taken is not None and await store.finish(taken, Outcome(Status.ACCEPTED, b"1\n"))
        await store.accept("b", [JOB])
        with pytest.raises(NoRoom) as refused:
            await store.accept("c", [JOB])
        told = answers.tell(answers.no_room(refused.value))
        assert told.status in (429, 503) and told.headers["Retry-After"]
        await store.tell(list((await store.find([token], "a", ())).values()))
        await store.accept("c", [JOB])
        assert not await store.find([token], "a", ())


async def test_who_holds_what_is_counted_by_leases_that_last(tmp_path: pathlib.Path) -> None:
    async with Store.opened(tmp_path / "store", Capacity(9, 9, 1 << 20, 60, 1000)) as store:
        await store.accept("a", [JOB] * 3)
        async with Store.opened(tmp_path / "store", Capacity(9, 9, 1 << 20, 60, 1000)) as other:
            assert await other.take(9) is not None
            assert (await store.waiting(), await other.waiting()) == ((2, [1]), (2, []))
        assert await store.waiting() == (3, []), "what it held is given back"


def test_a_list_in_place_of_a_number_is_as_none() -> None:
    body = parse(b'{"language_id": [], "cpu_time_limit": {}, "source_code": "x"}', SubmissionBody)
    with pytest.raises(wanted.Invalid) as refused:
        wanted.job_of(body, None, BOUNDS, Settings(), lambda _: None)
    assert refused.value.errors["language_id"][0] == "can't be blank" and list(refused.value.errors) == ["language_id"]


def test_of_several_runs_the_last_is_told_with_the_mean_of_all() -> None:
    runs = [Outcome(Status.ACCEPTED, text, facts=Facts(time=time, memory=memory)) for text, time, memory in (
        (b"a", 0.1, 100), (b"b", 0.3, 201)
    )]  # fmt: skip
    found = outcome.average(runs)
    assert (found.stdout, found.facts.time, found.facts.memory) == (b"b", 0.2, 150)


def test_options_are_for_compilers_that_take_them() -> None:
    cpp = {"language_id": 54, "source_code": "int main() {}"}

    def job(toolchain: str, options: str) -> Job:
        body = SubmissionBody(**cpp, compiler_options=options)
        return wanted.job_of(body, TOOLCHAINS.find(toolchain), BOUNDS, Settings(), lambda _: None)

    asked = job("cpp", "-std=c++17  '-O3'")
    assert Options.from_json(asked.options.to_json()).compiler_options == "-std=c++17  '-O3'"
    runs = wanted.submission_of(asked, TOOLCHAINS.find("cpp"), Settings(), Settings().run_limits())
    assert runs.compiler_options == ("-std=c++17", "-O3")
    for toolchain, options, why in (
        ("cpp", "-O2 -fplugin=x.so", "-fplugin=x.so is not allowed for C++"),
        ("cpp", "'", "cannot be given to a compiler: No closing quotation"),
        ("python", "-O2", "setting compiler options is not allowed for Python"),
    ):
        with pytest.raises(wanted.Invalid) as refused:
            job(toolchain, options)
        assert refused.value.errors == {"compiler_options": [why]}
