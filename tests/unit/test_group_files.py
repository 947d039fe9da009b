"""Files of a control group, which only we write."""

import os
import pathlib

import pytest

from daemon.host.cgroup.files import Files


def test_what_is_there_already_is_not_written_again(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "pids.max"
    file.write_text("")
    files = Files()
    files.write(str(file), 65)
    file.write_text("changed by somebody else")
    files.write(str(file), 65)
    assert file.read_text() == "changed by somebody else"
    assert files.written(str(file)) == 65


def test_another_value_is_written(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "cpu.max"
    file.write_text("")
    files = Files()
    files.write(str(file), "max 100")
    files.write(str(file), "500 10")
    assert file.read_text().startswith("500 10")  # a file of a control group has no old end


def test_what_was_forgotten_is_written_again(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "cpu.max"
    file.write_text("")
    files = Files()
    files.write(str(file), "500 10")
    file.write_text("")
    files.forget(str(file))
    assert files.written(str(file)) is None
    files.write(str(file), "500 10")
    assert file.read_text() == "500 10"


def test_what_could_not_be_written_is_tried_again(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "memory.max"
    files = Files()
    with pytest.raises(FileNotFoundError, match=r"cannot write 5 to .*memory\.max"):
        files.write(str(file), 5)
    assert files.written(str(file)) is None
    os.close(os.open(file, os.O_CREAT | os.O_WRONLY, 0o600))
    files.write(str(file), 5)
    assert file.read_text() == "5"


def test_each_reading_is_of_now_and_by_one_descriptor(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "pids.events"
    file.write_text("max 0\n")
    files = Files()
    assert files.read_keyed(str(file)) == {"max": 0}
    descriptors = len(os.listdir("/proc/self/fd"))
    file.write_text("max 1\n")
    assert files.read_keyed(str(file)) == {"max": 1}
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_what_is_reset_is_read_by_the_same_descriptor(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "memory.peak"
    file.write_text("7")
    files = Files()
    files.reset(str(file))
    descriptors = len(os.listdir("/proc/self/fd"))
    assert files.read(str(file)) == "0"
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_file_that_cannot_be_reset_or_read_is_named(tmp_path: pathlib.Path) -> None:
    for ask in (Files().reset, Files().read):
        with pytest.raises(FileNotFoundError, match=r"cannot re.* .*memory\.peak"):
            ask(str(tmp_path / "memory.peak"))


def test_nothing_stays_open_once_it_is_closed(tmp_path: pathlib.Path) -> None:
    before = os.listdir("/proc/self/fd")
    files = Files()
    for name in ("one", "two"):
        files.open(str(tmp_path / name), os.O_CREAT | os.O_WRONLY)
    files.close()
    assert os.listdir("/proc/self/fd") == before
