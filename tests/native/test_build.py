"""What pyproject.toml builds is all that there is."""

import pathlib
import tomllib

from .conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def test_every_package_is_installed() -> None:
    """setuptools is told each by name, because two folders outside of daemon/ become part of it."""
    found = {str(path.parent.relative_to(ROOT)).replace("/", ".") for path in (ROOT / "daemon").rglob("__init__.py")}
    assert found == {name for name in PROJECT["packages"] if name not in PROJECT["package-dir"]}


def test_folders_that_become_part_of_the_package_are_there() -> None:
    for folder in PROJECT["package-dir"].values():
        assert pathlib.Path(ROOT / folder).is_dir()


def test_compiler_warnings_are_errors() -> None:
    for module in PROJECT["ext-modules"]:
        assert {"-Wall", "-Wextra", "-Werror"} <= set(module["extra-compile-args"])
