"""Files of a control group that only we write."""

import os
import pathlib

import pytest

from daemon.host.cgroup.mounts import Settings


def test_what_is_there_already_is_not_written_again(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "pids.max"
    file.write_text("")
    settings = Settings()
    settings.write(str(file), 65)
    file.write_text("changed by somebody else")
    settings.write(str(file), 65)
    assert file.read_text() == "changed by somebody else"
    assert settings.get(str(file)) == 65


def test_another_value_is_written(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "cpu.max"
    file.write_text("")
    settings = Settings()
    settings.write(str(file), "max 100")
    settings.write(str(file), "500 10")
    assert file.read_text().startswith("500 10")  # a file of a control group has no old end


def test_what_could_not_be_written_is_tried_again(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "memory.max"
    settings = Settings()
    with pytest.raises(FileNotFoundError, match=r"cannot write 5 to .*memory\.max"):
        settings.write(str(file), 5)
    assert settings.get(str(file)) is None
    os.close(os.open(file, os.O_CREAT | os.O_WRONLY, 0o600))
    settings.write(str(file), 5)
    assert file.read_text() == "5"
