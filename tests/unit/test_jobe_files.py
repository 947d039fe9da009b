"""The store of files that Jobe's clients put: whose they are, how much is kept, and for how long."""

import pathlib

import pytest

from daemon.dialects.jobe.store import Files

HOUR_S = 3600


class Clock:
    now_s = 1e9

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def files(tmp_path: pathlib.Path, clock: Clock) -> Files:
    found = Files(tmp_path / "jobe", bytes_max=100, bytes_of_client=60, hours=2, clock=clock)
    found.open()
    return found


def kept(files: Files, client: str, *ids: str) -> set[str]:
    return set(files.read(client, ids))


def blobs(tmp_path: pathlib.Path) -> set[bytes]:
    return {path.read_bytes() for path in (tmp_path / "jobe").glob("??/*")}


@pytest.mark.threat("U16")
def test_file_is_its_clients_alone(files: Files) -> None:
    files.put("one", "id", b"content")
    assert files.read("one", ["id", "none"]) == {"id": b"content"}
    assert files.sizes("one", ["id", "none"]) == {"id": 7}
    assert files.read("two", ["id"]) == files.sizes("two", ["id"]) == {}


def test_same_content_is_on_the_disk_once_until_nobody_has_it(files: Files, tmp_path: pathlib.Path) -> None:
    files.put("one", "a", b"same")
    files.put("two", "b", b"same")
    assert blobs(tmp_path) == {b"same"}
    files.put("one", "a", b"other")
    assert blobs(tmp_path) == {b"same", b"other"}
    files.put("two", "b", b"third")
    assert blobs(tmp_path) == {b"other", b"third"}


def test_new_file_takes_the_place_of_those_that_its_client_used_least_lately(files: Files, clock: Clock) -> None:
    for number, name in enumerate("abc"):
        clock.now_s = 1e9 + number
        files.put("one", name, name.encode() * 20)
    clock.now_s += 1
    assert files.sizes("one", "a")
    files.put("one", "d", b"d" * 20)
    assert kept(files, "one", *"abcd") == {"a", "c", "d"}


@pytest.mark.threat("U16")
def test_client_that_has_most_gives_way_to_others(files: Files) -> None:
    files.put("small", "s", b"s" * 20)
    files.put("large", "a", b"a" * 30)
    files.put("large", "b", b"b" * 30)
    files.put("new", "n", b"n" * 40)
    assert (kept(files, "small", "s"), kept(files, "new", "n")) == ({"s"}, {"n"})
    assert len(kept(files, "large", "a", "b")) == 1


def test_thousands_of_small_files_give_way_to_a_large_one_at_once(files: Files) -> None:
    for number in range(60):
        files.put("one", f"id{number}", bytes([number]))
    files.put("two", "other", b"x" * 30)
    files.put("one", "large", b"y" * 59)
    assert kept(files, "one", "large", *(f"id{number}" for number in range(60))) == {"large", "id9"}
    assert kept(files, "two", "other") == {"other"}


def test_file_larger_than_a_clients_part_is_refused_and_nothing_gives_way(files: Files) -> None:
    files.put("one", "a", b"a" * 60)
    with pytest.raises(ValueError, match="at most 60 bytes"):
        files.put("one", "b", b"b" * 61)
    assert kept(files, "one", "a", "b") == {"a"}


def test_what_nobody_used_for_so_long_is_gone(files: Files, clock: Clock, tmp_path: pathlib.Path) -> None:
    files.put("one", "used", b"1")
    files.put("one", "left", b"2")
    clock.now_s += HOUR_S
    assert files.sizes("one", ["used"])
    clock.now_s += HOUR_S
    assert files.sizes("one", ["used", "left"]) == {"used": 1}
    files.sweep()
    assert blobs(tmp_path) == {b"1"}


def test_content_that_a_crash_has_torn_is_as_good_as_none(files: Files, tmp_path: pathlib.Path) -> None:
    files.put("one", "id", b"whole")
    (path,) = (tmp_path / "jobe").glob("??/*")
    path.write_bytes(b"who")
    assert files.read("one", ["id"]) == {}
    files.put("one", "id", b"whole")
    assert files.read("one", ["id"]) == {"id": b"whole"}


def test_another_process_sees_what_was_put(files: Files, tmp_path: pathlib.Path, clock: Clock) -> None:
    files.put("one", "id", b"content")
    other = Files(tmp_path / "jobe", 100, 60, 2, clock)
    other.open()
    assert other.read("one", ["id"]) == {"id": b"content"}
