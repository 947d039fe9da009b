"""Names and locks of keepers: one holder at a time, nothing of a holder that is gone stays but an empty lock file."""

import os
import pathlib

import pytest

from daemon.host import instance
from daemon.host.instance import Busy


@pytest.fixture(autouse=True)
def run_directory(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setattr(instance, "RUN_DIRECTORY", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", ["", "a/b", "..", "A", "-a", "a" * 42, "locks", "slices", "run-0", "a.starter"])
def test_a_name_that_cannot_be_an_instance_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"is not 1 to 41|cellblock uses itself"):
        instance.check_name(name)


@pytest.mark.threat("U11")
def test_a_name_is_held_by_one_at_a_time_and_its_lock_file_stays(run_directory: pathlib.Path) -> None:
    lock = instance.hold("serve")
    with pytest.raises(Busy, match="'serve' is running"):
        instance.hold("serve")
    before = (run_directory / "locks" / "serve.starter").stat().st_ino
    os.close(lock)
    os.close(instance.hold("serve"))
    assert (run_directory / "locks" / "serve.starter").stat().st_ino == before


def test_runs_take_slots_one_after_the_other_and_give_them_back() -> None:
    with instance.run_slot() as first, instance.run_slot() as second:
        assert (first, second) == ("run-0", "run-1")
    with instance.run_slot() as again:
        assert again == "run-0"


def test_what_killed_runs_left_is_swept_whatever_slot_they_had(run_directory: pathlib.Path) -> None:
    for name in ("run-0", "run-7", "run-4711"):
        (run_directory / name).mkdir()
        (run_directory / name / "keeper.sock").touch()
    with instance.run_slot() as name:
        (run_directory / name).mkdir()
        (run_directory / name / "groups.json").write_text("[]")
    assert [path.name for path in run_directory.iterdir()] == ["locks"]


def test_a_slot_whose_keeper_still_lives_is_left_alone(run_directory: pathlib.Path) -> None:
    (run_directory / "run-0").mkdir()
    keeper = instance._lock(instance.LOCKS, "run-0")
    assert keeper is not None
    with instance.run_slot() as name:
        assert name == "run-1"
    assert (run_directory / "run-0").is_dir()
    with pytest.raises(Busy):
        instance.clean_up("run-0")
    os.close(keeper)


def test_when_all_slots_are_taken_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance, "RUN_SLOTS", 1)
    with instance.run_slot(), pytest.raises(Busy, match="1 programs run already"), instance.run_slot():
        pass
