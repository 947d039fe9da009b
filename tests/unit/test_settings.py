"""A setting that cannot work stops the start with its name, before anything else is started."""

import pathlib

import pytest

from daemon import settings


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("INSTANCE", "Bad Name", "instance: Value error, 'Bad Name' is not 1 to 41 lower case letters"),
        ("INSTANCE", "run-1", "'run-1' is a name that cellblock uses itself"),
        ("WARDEN_RUNS_MAX", "64001", "warden_runs_max: Input should be less than or equal to 60000"),
        ("TIMEOUT_S", "61", "timeout_s is above timeout_s_max"),
    ],
)
def test_it_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
    monkeypatch.setenv("CELLBLOCK_SETTINGS", "/nonexistent")
    monkeypatch.setenv(f"CELLBLOCK_{name}", value)
    with pytest.raises(settings.BadSettings) as error:
        settings.load()
    assert said in str(error.value)


def test_the_defaults_are_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLBLOCK_SETTINGS", "/nonexistent")
    assert settings.load(port=0).port == 0


def test_languages_that_were_installed_besides_are_offered_with_the_default_folders_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CELLBLOCK_SETTINGS", "/nonexistent")
    monkeypatch.setenv("CELLBLOCK_PREFIX", "/opt/x")
    shipped, *others = settings.load().toolchain_folders
    assert settings.load().folders == (shipped, pathlib.Path("/opt/x/languages"), *others)
    monkeypatch.setenv("CELLBLOCK_TOOLCHAIN_FOLDERS", '["/only"]')
    assert settings.load().folders == (pathlib.Path("/only"),)
