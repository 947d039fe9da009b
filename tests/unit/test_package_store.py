"""The store keeps packages by content; what a grading holds stays, and a crash leaves nothing."""

import asyncio
import errno
import json
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from daemon.grading.packages import reading, renewal, shelf, store
from daemon.grading.packages.archive import ArchiveLimits
from daemon.grading.packages.reading import Package, ReadingLimits
from daemon.grading.packages.refusal import BadProblemId, CannotRead, NoSuchProblem, PackageRefused, StoreFull
from daemon.grading.packages.store import Held, Listed, Store, Stored
from daemon.grading.packages.time_limit import LimitSource, TimeLimit
from tests.small_packages import LEGACY, opened, with_files, zip_bytes

MIB = 1 << 20
ONE = zip_bytes(LEGACY)
TWO = zip_bytes(with_files(LEGACY, {"data/secret/01.in": "30 40\n"}))
BAD = zip_bytes({"problem.yaml": "name: x"})


async def started(root: pathlib.Path, problems: int = 10, size: int = 100 * MIB) -> Store:
    made = Store(root, problems, size, ReadingLimits())
    await made.start()
    return made


@pytest.fixture
async def kept(tmp_path: pathlib.Path) -> AsyncIterator[Store]:
    before = set(os.listdir("/proc/self/fd"))
    yield await started(tmp_path)
    assert list((tmp_path / "incoming").iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) <= len(before) + 3  # the loop's own


async def put(kept: Store, problem: str, content: bytes) -> Stored:
    with opened(content) as archive:
        return (await kept.put(problem, archive, timed)).stored


async def timed(package: Package) -> TimeLimit:
    return TimeLimit(len(package.problem.cases), LimitSource.COMPUTED)


def first_input(held: Held) -> str:
    with open(held.open("data/secret/01.in")) as file:
        return file.read()


def versions(root: pathlib.Path) -> set[str]:
    return set(os.listdir(root / "versions"))


async def test_what_is_put_is_got(kept: Store, tmp_path: pathlib.Path) -> None:
    stored = await put(kept, "sum", ONE)
    assert stored == await kept.get("sum")
    assert await kept.list() == (Listed("sum", stored.version, stored.stored_at, stored.disk_bytes),)
    assert (stored.id, len(stored.version), stored.problem.names) == ("sum", 64, (("en", "Sum"),))
    assert stored.disk_bytes > 0
    async with kept.hold("sum") as held:
        assert first_input(held) == "3 4\n" and held.stored == stored
    assert await (await started(tmp_path)).get("sum") == stored


async def test_one_zip_is_on_the_disk_once(kept: Store, tmp_path: pathlib.Path) -> None:
    first, second = await put(kept, "a", ONE), await put(kept, "b", ONE)
    assert first.version == second.version and versions(tmp_path) == {first.version}
    await kept.delete("a")
    assert versions(tmp_path) == {first.version}
    await kept.delete("b")
    assert versions(tmp_path) == set() and await kept.list() == ()


@pytest.mark.parametrize("problem", ["", "A", "-a", "_a", "a/b", "..", "a.b", "a" * 65, "a\n", "é"])
async def test_other_ids_are_refused(kept: Store, problem: str) -> None:
    for asked in (kept.get(problem), kept.delete(problem), put(kept, problem, ONE)):
        with pytest.raises(BadProblemId):
            await asked
    with pytest.raises(BadProblemId):
        async with kept.hold(problem):
            pass


async def test_what_is_not_there_is_told(kept: Store) -> None:
    for asked in (kept.get("x"), kept.delete("x")):
        with pytest.raises(NoSuchProblem):
            await asked
    with pytest.raises(NoSuchProblem):
        async with kept.hold("x"):
            pass


async def test_a_grading_under_way_keeps_its_version(kept: Store, tmp_path: pathlib.Path) -> None:
    old = await put(kept, "sum", ONE)
    async with kept.hold("sum") as held:
        new = await put(kept, "sum", TWO)
        assert first_input(held) == "3 4\n" and held.stored == old
        async with kept.hold("sum") as other:
            assert first_input(other) == "30 40\n"
        await kept.delete("sum")
        assert first_input(held) == "3 4\n"
        assert versions(tmp_path) == {old.version}
    assert versions(tmp_path) == set() and new.version != old.version


async def test_a_version_that_is_held_twice_goes_with_the_last(kept: Store, tmp_path: pathlib.Path) -> None:
    await put(kept, "sum", ONE)
    async with kept.hold("sum"):
        async with kept.hold("sum"):
            await kept.delete("sum")
        assert len(versions(tmp_path)) == 1
    assert versions(tmp_path) == set()


async def test_another_process_holds_too(kept: Store, tmp_path: pathlib.Path) -> None:
    """Killed, it holds nothing any more."""
    stored = await put(kept, "sum", ONE)
    program = f"""
import asyncio, pathlib, time
from daemon.grading.packages.store import Store
from daemon.grading.packages.reading import ReadingLimits
async def main():
    kept = Store(pathlib.Path({str(tmp_path)!r}), 10, 1 << 30, ReadingLimits())
    await kept.start()
    async with kept.hold("sum") as held:
        print(held.stored.version, flush=True)
        time.sleep(1000)
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=subprocess.PIPE, env=reading.ENVIRONMENT
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == f"{stored.version}\n".encode()
    await put(kept, "sum", TWO)
    assert stored.version in versions(tmp_path)
    process.kill()
    await process.wait()
    await started(tmp_path)
    assert stored.version not in versions(tmp_path) and len(versions(tmp_path)) == 1


async def test_a_bad_package_changes_nothing(kept: Store, tmp_path: pathlib.Path) -> None:
    stored = await put(kept, "sum", ONE)
    for content in (BAD, b"no zip"):
        with pytest.raises(PackageRefused):
            await put(kept, "sum", content)
    assert await kept.get("sum") == stored and versions(tmp_path) == {stored.version}


async def test_problems_are_bounded(tmp_path: pathlib.Path) -> None:
    kept = await started(tmp_path, problems=2)
    await put(kept, "a", ONE)
    await put(kept, "b", ONE)
    for content in (ONE, TWO):
        with pytest.raises(StoreFull, match="2 problems"):
            await put(kept, "c", content)
    await put(kept, "b", TWO)
    await kept.delete("a")
    await put(kept, "c", ONE)


async def test_bytes_are_bounded(tmp_path: pathlib.Path) -> None:
    kept = await started(tmp_path, size=3 * MIB)

    def large(name: str, size: int) -> bytes:
        return zip_bytes(with_files(LEGACY, {"data/secret/01.in": name + "x" * size}))

    first = await put(kept, "a", large("1", 2 * MIB))
    beside = first.disk_bytes - 2 * MIB  # what the other files take
    for size in (2 * MIB, 3 * MIB - first.disk_bytes - beside // 2):  # found before it is unpacked, and after
        with pytest.raises(StoreFull):
            await put(kept, "b", large("2", size))
    assert [one.id for one in await kept.list()] == ["a"] and len(versions(tmp_path)) == 1
    await kept.delete("a")
    await put(kept, "b", large("2", 2 * MIB))


async def test_a_package_beyond_its_own_limit_is_refused_as_such(tmp_path: pathlib.Path) -> None:
    kept = Store(tmp_path, 10, 1 << 40, ReadingLimits(archive=ArchiveLimits(total_bytes_max=10)))
    await kept.start()
    with pytest.raises(PackageRefused, match="unpacks to"):
        await put(kept, "a", ONE)


async def test_what_a_crash_left_is_swept(kept: Store, tmp_path: pathlib.Path) -> None:
    stored = await put(kept, "sum", ONE)
    torn = tmp_path / "incoming" / "torn"
    (torn / "package/data").mkdir(parents=True)
    (tmp_path / "incoming" / "x.json").write_text("{")
    orphan = tmp_path / "versions" / ("0" * 64)
    orphan.mkdir()
    await started(tmp_path)
    assert list((tmp_path / "incoming").iterdir()) == [] and versions(tmp_path) == {stored.version}


async def test_a_sweep_leaves_what_another_process_unpacks(tmp_path: pathlib.Path) -> None:
    first = shelf.Shelf(tmp_path)
    incoming = first.begin()
    await started(tmp_path)
    assert incoming.path.is_dir()
    store._remove(incoming)
    assert not incoming.path.exists()


@pytest.mark.parametrize("step", ["settle", "finish", "name", "collect"])
async def test_killed_at_any_step_the_store_is_as_before_or_as_after(tmp_path: pathlib.Path, step: str) -> None:
    """A process that replaces a package is killed just before, and just after, each step."""
    for when in ("before", "after"):
        root = tmp_path / when
        kept = await started(root)
        old = await put(kept, "sum", ONE)
        with opened(TWO) as archive:
            program = f"""
import asyncio, os, pathlib, signal
from daemon.grading.packages import shelf
from daemon.grading.packages.store import Store
from daemon.grading.packages.reading import ReadingLimits
from daemon.grading.packages.time_limit import LimitSource, TimeLimit
step = shelf.Shelf.{step}
def killed(*arguments):
    if {when == "after"}:
        step(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
async def main():
    kept = Store(pathlib.Path({str(root)!r}), 10, 1 << 30, ReadingLimits())
    await kept.start()
    shelf.Shelf.{step} = killed
    async def timed(package):
        return TimeLimit(1, LimitSource.DEFAULT)
    await kept.put("sum", {archive}, timed)
asyncio.run(main())
"""
            done = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-c", program],
                pass_fds=[archive],
                env=reading.ENVIRONMENT,
                check=False,
            )
        assert done.returncode == -signal.SIGKILL
        again = await started(root)
        found = await again.get("sum")
        was_named = step == "collect" or (step == "name" and when == "after")
        assert (found.version != old.version) == was_named
        assert versions(root) == {found.version} and list((root / "incoming").iterdir()) == []
        async with again.hold("sum") as held:
            assert first_input(held) == ("30 40\n" if was_named else "3 4\n")


async def test_many_puts_holds_and_deletes_at_once(kept: Store, tmp_path: pathlib.Path) -> None:
    """Whoever holds reads one version, whole, whatever others do meanwhile."""
    other = await started(tmp_path)
    await put(kept, "sum", ONE)

    async def replace(where: Store, content: bytes) -> None:
        for _ in range(5):
            await put(where, "sum", content)

    async def read(where: Store) -> None:
        for _ in range(40):
            async with where.hold("sum") as held:
                text = first_input(held)
                await asyncio.sleep(0)
                assert first_input(held) == text in ("3 4\n", "30 40\n")

    async with asyncio.TaskGroup() as group:
        for where, content in ((kept, ONE), (other, TWO), (other, ONE)):
            group.create_task(replace(where, content))
            group.create_task(read(where))
    assert len(versions(tmp_path)) == 1


@pytest.mark.parametrize("is_known", [False, True])
async def test_what_is_replaced_before_its_own_put_has_ended_goes(
    kept: Store, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, is_known: bool
) -> None:
    """Whoever replaced it found it held, so the one who held it removes it."""
    other = await started(tmp_path)
    if is_known:
        await put(kept, "sum", ONE)
    commit = kept._commit

    def commit_and_be_replaced(*arguments: Any) -> Any:
        done = commit(*arguments)
        asyncio.run(put(other, "sum", TWO))  # this is a thread without a loop
        return done

    monkeypatch.setattr(kept, "_commit", commit_and_be_replaced)
    old = await put(kept, "sum", ONE)
    new = await kept.get("sum")
    assert old.version != new.version and versions(tmp_path) == {new.version}


async def test_a_put_that_is_cancelled_leaves_nothing(kept: Store, tmp_path: pathlib.Path) -> None:
    for delay in (0.0, 0.001, 0.01, 0.03, 0.1, 0.2):
        task = asyncio.create_task(put(kept, "sum", ONE))
        await asyncio.wait([task], timeout=delay)
        task.cancel()
        await asyncio.wait([task])
        assert list((tmp_path / "incoming").iterdir()) == []
        assert versions(tmp_path) == {one.version for one in await kept.list()}


async def test_a_store_that_cannot_be_is_told(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotRead, match="problems: "):
        await started(tmp_path / "file" / "store")
    with pytest.raises(CannotRead, match="has not been started"):
        await Store(tmp_path, 1, 1, ReadingLimits()).get("x")


def described(root: pathlib.Path, version: str) -> pathlib.Path:
    return root / "versions" / version / "problem.json"


async def test_what_another_release_described_is_read_again_and_keeps_its_time_limit(
    kept: Store, tmp_path: pathlib.Path
) -> None:
    stored = await put(kept, "sum", ONE)
    written = json.loads(described(tmp_path, stored.version).read_text())
    del written["problem"]["validator"], written["problem"]["names"]
    described(tmp_path, stored.version).write_text(json.dumps(written))
    (tmp_path / "form").write_text("another release's")
    assert await (await started(tmp_path)).get("sum") == stored
    assert list((tmp_path / "incoming").iterdir()) == []


async def test_what_this_release_described_is_not_read_again(kept: Store, tmp_path: pathlib.Path) -> None:
    stored = await put(kept, "sum", ONE)
    before = described(tmp_path, stored.version).stat()
    (tmp_path / "form").unlink()
    await started(tmp_path)
    assert described(tmp_path, stored.version).stat() == before


async def test_a_failure_of_the_host_is_tried_again_at_the_next_start(
    kept: Store, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = await put(kept, "sum", ONE)
    written = json.loads(described(tmp_path, stored.version).read_text())
    del written["problem"]["names"]
    described(tmp_path, stored.version).write_text(json.dumps(written))
    (tmp_path / "form").unlink()

    async def no_memory(*_: object) -> None:
        raise OSError(errno.ENOMEM, "no memory")

    with monkeypatch.context() as patched:
        patched.setattr(renewal, "read_package", no_memory)
        await started(tmp_path)
    assert await (await started(tmp_path)).get("sum") == stored


async def test_what_cannot_be_read_again_is_told_and_harms_no_other(kept: Store, tmp_path: pathlib.Path) -> None:
    lost, found = await put(kept, "lost", ONE), await put(kept, "found", TWO)
    described(tmp_path, lost.version).write_text('{"folder": ""}')  # without a time limit
    (tmp_path / "form").unlink()
    after = await started(tmp_path)
    assert await after.get("found") == found
    with pytest.raises(CannotRead, match="delete it and store it again"):
        await after.get("lost")
