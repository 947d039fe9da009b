"""A setting that cannot work stops the start with its name, before anything else is started."""

import os
import pathlib
import pwd
import tempfile

import pytest

from daemon import settings


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("INSTANCE", "Bad Name", "instance: Value error, 'Bad Name' is not 1 to 41 lower case letters"),
        ("INSTANCE", "run-1", "'run-1' is a name that cellblock uses itself"),
        ("WARDEN_RUNS_MAX", "64001", "warden_runs_max: Input should be less than or equal to 60000"),
        ("FIRST_UID", "1879113728", "first_uid: Value error, 1879113728 is no multiple of 4194304 from 4194304 to"),
        ("FIRST_UID", "0", "0 is no multiple of 4194304 from 4194304 to 2147483647"),
        ("FIRST_UID", "2147483648", "2147483648 is no multiple of 4194304 from 4194304 to 2147483647"),
        ("GRADE_CORES", "2-", "grade_cores: Value error, '2-' is no core and no range of cores"),
        ("GRADE_CORES", "3-1", "grade_cores: Value error, '3-1' is not in order"),
        ("GRADE_CORES", "0-9999999999", "grade_cores: Value error, '0-9999999999' is not in order, or above 8191"),
        ("GRADE_CORES", "", 'grade_cores: Value error, must be a list of cores, such as "2-7"'),
        ("TIMEOUT_S", "61", "timeout_s is above timeout_s_max"),
        ("JUDGE_DATA_MB", "87", "judge_data_mb is below body_bytes_max and grade_output_mb_max together"),
    ],
)
def test_it_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
    monkeypatch.setenv("CELLBLOCK_SETTINGS", "/dev/null")
    monkeypatch.setenv(f"CELLBLOCK_{name}", value)
    with pytest.raises(settings.BadSettings) as error:
        settings.load()
    assert said in str(error.value)


def test_the_defaults_are_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLBLOCK_SETTINGS", "/dev/null")
    assert settings.load(port=0).port == 0


def test_languages_that_were_installed_besides_are_offered_with_the_default_folders_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CELLBLOCK_SETTINGS", "/dev/null")
    monkeypatch.setenv("CELLBLOCK_PREFIX", "/opt/x")
    shipped, *others = settings.load().toolchain_folders
    assert settings.load().folders == (shipped, pathlib.Path("/opt/x/languages"), *others)
    monkeypatch.setenv("CELLBLOCK_TOOLCHAIN_FOLDERS", '["/only"]')
    assert settings.load().folders == (pathlib.Path("/only"),)


def test_the_cores_of_graded_runs_reach_the_keeper_as_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLBLOCK_SETTINGS", "/dev/null")
    assert settings.load().deployment().grade_cores is None
    monkeypatch.setenv("CELLBLOCK_GRADE_CORES", "2-4,7")
    assert settings.load().deployment().grade_cores == (2, 3, 4, 7)


def test_the_cores_of_graded_runs_are_a_list_in_the_settings_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    file = tmp_path / "cellblock.toml"
    monkeypatch.setenv("CELLBLOCK_SETTINGS", str(file))
    file.write_text('grade_cores = "1,3"\n')
    assert settings.load().deployment().grade_cores == (1, 3)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no such file; correct CELLBLOCK_SETTINGS or take it away"),
        (b"port = ", "Invalid value"),
        (b"\xff", "can't decode byte 0xff"),
        (b"no_such_setting = 1", "no_such_setting: Extra inputs are not permitted"),
    ],
)
def test_a_settings_file_that_says_nothing_usable_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, content: bytes | None, said: str
) -> None:
    """A limit in it would silently be none."""
    file = tmp_path / "cellblock.toml"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("CELLBLOCK_SETTINGS", str(file))
    with pytest.raises(settings.BadSettings) as error:
        settings.load()
    assert said in str(error.value)


def test_the_usual_settings_file_need_not_be_there(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.delenv("CELLBLOCK_SETTINGS", raising=False)
    monkeypatch.setattr(settings, "SETTINGS_FILE", str(tmp_path / "none.toml"))
    assert settings.load().port == 8000


def test_a_settings_file_that_the_http_process_may_not_read_is_said_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its folder may be entered; the file is root's alone."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        file = pathlib.Path(folder, "cellblock.toml")
        file.touch(0o600)
        monkeypatch.setenv("CELLBLOCK_SETTINGS", str(file))
        os.seteuid(pwd.getpwnam("cellblock").pw_uid)
        try:
            with pytest.raises(settings.BadSettings) as error:
                settings.load()
        finally:
            os.seteuid(0)
    assert str(error.value) == f"{file}: Permission denied; the HTTP process's user must be able to read it"
