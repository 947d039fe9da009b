"""The settings file that an installation starts with says every setting, and changes none."""

import pathlib
import re
import tomllib

import pytest

from daemon import settings, settings_file


def uncommented() -> str:
    return re.sub(r"^#(?=\w+ = )", "", settings_file.template(), flags=re.MULTILINE)


def test_as_it_is_it_says_nothing() -> None:
    assert tomllib.loads(settings_file.template()) == {}


def test_every_setting_is_in_it_with_what_it_means() -> None:
    text = settings_file.template()
    for name, field in settings.Settings.model_fields.items():
        assert field.description, f"{name} has no description"
        assert re.search(rf"^# {re.escape(field.description)}\n#( ?){name} ", text, re.MULTILINE), name


def test_no_path_is_in_it_that_the_next_upgrade_removes() -> None:
    """Where it is read by Python it is installed in a folder of one version."""
    assert str(pathlib.Path(settings.__file__).parent) not in settings_file.template()
    assert "# configs is by default what comes with the installed version" in settings_file.template()


def test_without_its_comments_it_says_the_defaults(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLBLOCK_SETTINGS", "/dev/null")
    defaults = settings.load()
    file = tmp_path / "cellblock.toml"
    file.write_text(uncommented())
    monkeypatch.setenv("CELLBLOCK_SETTINGS", str(file))
    assert settings.load() == defaults
