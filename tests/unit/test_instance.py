"""Names and locks of keepers: one holder at a time, nothing of a holder that is gone stays but an empty lock file."""

import os
import pathlib
import pwd

import pytest

from daemon import launch, settings
from daemon.host import instance
from daemon.host.instance import Busy, Instance


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


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_who_may_what_below_run_is_not_left_to_the_umask(run_directory: pathlib.Path, umask: int) -> None:
    """Others pass and do no more; the record, by which root removes groups, and the locks are root's alone."""
    previous = os.umask(umask)
    try:
        os.close(instance.hold("serve"))
        keeper = Instance("serve", 1879048192)
        keeper.record([])
        launch.listen_unix(run_directory / "serve" / "keeper.sock", os.geteuid()).close()
    finally:
        os.umask(previous)
    found = {
        str(path.relative_to(run_directory)): oct(path.stat().st_mode & 0o777) for path in run_directory.rglob("*")
    }
    directories, files = ("locks", "slices", "serve"), ("locks/serve", "locks/serve.starter", "slices/1879048192")
    assert found == {
        **dict.fromkeys(directories, "0o711"), **dict.fromkeys(files, "0o600"),
        "serve/groups.json": "0o600", "serve/keeper.sock": "0o600",
    }  # fmt: skip


def test_the_state_directory_is_the_http_users_alone(tmp_path: pathlib.Path) -> None:
    """One that an administrator made with another mode too: sources, artefacts and problems are below it."""
    user = pwd.getpwnam("nobody")
    (tmp_path / "made before").mkdir(mode=0o755)
    for name in ("made before", "new"):
        launch._state_directory(settings.load(state=tmp_path / name), user)
        status = (tmp_path / name).stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (user.pw_uid, user.pw_gid, 0o700)


@pytest.mark.parametrize("kind", ["writable for all", "somebody else's", "link", "file"])
def test_a_directory_that_is_not_ours_alone_is_not_used(run_directory: pathlib.Path, kind: str) -> None:
    taken = run_directory / "locks"
    match kind:
        case "writable for all":
            taken.mkdir()
            taken.chmod(0o777)
        case "somebody else's":
            taken.mkdir()
            os.chown(taken, 65534, 65534)
        case "link":
            taken.symlink_to("/tmp")
        case _:
            taken.touch()
    with pytest.raises(Busy, match="locks is there and is no directory that is ours alone"):
        instance.hold("serve")


def test_no_two_keepers_have_a_host_uid_in_common() -> None:
    """Whatever their settings say: what one has, the other leaves out, and a first uid within a slice is refused."""
    first_uid, size = 1879048192, instance.SLICE_UIDS
    keepers = [Instance(name, uid) for name, uid in (("a", first_uid), ("b", first_uid + size), ("c", first_uid))]
    last = instance.WARDENS_PER_SLICE - 1
    ranges = [range(one.uid_base(0), one.uid_base(last) + instance.UIDS_PER_WARDEN) for one in keepers]
    assert [uids.start for uids in ranges] == [first_uid, first_uid + size, first_uid + 2 * size]
    assert all(len(uids) == size for uids in ranges)
    for uid in (first_uid + instance.UIDS_PER_WARDEN, first_uid - 1, 1, 0, -size, instance.LAST_UID + 1):
        with pytest.raises(ValueError, match=f"{uid} is no multiple of {size}"):
            Instance("d", uid)


def test_when_all_slices_are_taken_that_is_told() -> None:
    last = instance.LAST_UID + 1 - instance.SLICE_UIDS
    keepers = [Instance("a", last)]
    with pytest.raises(Busy, match="every slice of host uids is taken"):
        Instance("b", last)
    assert keepers[0].uid_base(0) == last


@pytest.mark.parametrize("toolchains", [1, 3, 9, 32, 64, 100])
def test_every_toolchain_has_a_warden_and_room_for_the_next(toolchains: int) -> None:
    """A host of many cores wants 8 of each, more than a slice has."""
    of_each = instance.wardens_of_each(toolchains)
    assert of_each == 1 or toolchains * (of_each + 1) <= instance.WARDENS_PER_SLICE
