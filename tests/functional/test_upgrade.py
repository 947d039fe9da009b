"""`./bootstrap install` over an installation: the new version is made beside the old one, which works until the new one does."""

import collections.abc
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from tests.server import PREFIX

AWAY = {"PIP_INDEX_URL": "http://127.0.0.1:9", "PIP_RETRIES": "0", "PIP_NO_CACHE_DIR": "1"}  # nothing can be fetched
SOURCES = (
    "bootstrap",
    "daemon",
    "jail_configs",
    "toolchains",
    "pyproject.toml",
    "requirements.lock",
    "README.md",
    "LICENSE",
    "systemd",
)
# In a mount namespace of its own, where /usr/local/bin is another folder than the host's.
ALONE = ("unshare", "--mount", "bash", "-c", 'mount -t tmpfs tmpfs /usr/local/bin && exec "$@"', "bash")
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _leaves_nothing() -> None:
    """No server takes part."""


class Installation:
    """A clone and what it installed, both changed by nobody else."""

    def __init__(self, folder: pathlib.Path, repository: pathlib.Path) -> None:
        self.clone, self.prefix = folder / "clone", folder / "prefix"
        self.clone.mkdir()
        for name in SOURCES:
            copy = shutil.copytree if (repository / name).is_dir() else shutil.copy
            copy(repository / name, self.clone / name)
        installed = (PREFIX / "venv").resolve()
        self.first = self.prefix / "venvs" / installed.name
        self.first.parent.mkdir(parents=True)
        subprocess.run(["cp", "-al", installed, self.first], check=True)
        for file in (self.first / "bin").iterdir():
            if file.is_file() and not file.is_symlink() and (data := file.read_bytes()).startswith(b"#!"):
                file.unlink()  # it is a hard link
                file.write_bytes(data.replace(bytes(installed), bytes(self.first)))
                file.chmod(0o755)
        (self.prefix / "venv").symlink_to(self.first)
        shutil.copytree(PREFIX / "stamps", self.prefix / "stamps")
        if (PREFIX / "wild").exists():  # it belongs to what the stamp of Rust's root says
            (self.prefix / "wild").symlink_to(PREFIX / "wild")
        for root in ("python", "typescript", "rust"):  # of which only the names are looked at
            (self.prefix / "toolchains" / root).mkdir(parents=True)

    def install(self, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [*ALONE, self.clone / "bootstrap", "install"]
        variables = {**os.environ, "CELLBLOCK_PREFIX": str(self.prefix), **environment}
        return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)

    def version(self) -> str:
        """What the installed command says; it must work."""
        command = [self.prefix / "venv/bin/cellblock", "--version"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def change(self, name: str, old: str, new: str) -> None:
        """In the clone's file of this name."""
        text = (self.clone / name).read_text()
        assert old in text
        (self.clone / name).write_text(text.replace(old, new))


@pytest.fixture
def installation(repository: pathlib.Path) -> collections.abc.Iterator[Installation]:
    with tempfile.TemporaryDirectory(dir=PREFIX) as folder:  # hard links stay in one file system
        yield Installation(pathlib.Path(folder), repository)


def test_a_version_that_cannot_be_built_changes_nothing_and_the_next_one_needs_no_network(
    installation: Installation,
) -> None:
    """What runs keeps the files that it was started from."""
    before = installation.version()
    running = [installation.first / "bin/python", "-c", "input()"]
    with subprocess.Popen(running, stdin=subprocess.PIPE) as old:
        installation.change("daemon/warden/native/jail.c", "#include", "#error no\n#include")
        assert installation.install(**AWAY).returncode != 0
        assert installation.version() == before
        installation.change("daemon/warden/native/jail.c", "#error no\n", "")
        installation.change("pyproject.toml", 'version = "0.1.0"', 'version = "0.1.1"')
        done = installation.install(**AWAY)
        assert done.returncode == 0, done.stderr
        assert "0.1.1" in installation.version()
        assert (installation.first / "bin/cellblock").exists()
        old.communicate()
    assert installation.install(**AWAY).returncode == 0
    assert os.listdir(installation.first.parent) == [(installation.prefix / "venv").resolve().name]


def test_libraries_that_cannot_be_fetched_change_nothing(installation: Installation) -> None:
    before = installation.version()
    installation.change("requirements.lock", "aiohttp==", "# another\naiohttp==")
    done = installation.install(**AWAY)
    assert done.returncode != 0
    assert "No matching distribution" in done.stderr
    assert installation.version() == before


def test_a_language_besides_that_cannot_be_built_changes_nothing(installation: Installation) -> None:
    """The languages besides are built with every upgrade once they were asked for."""
    before = installation.version()
    (installation.prefix / "languages").mkdir()
    installation.change("pyproject.toml", 'version = "0.1.0"', 'version = "0.1.1"')
    installation.change(
        "bootstrap", '  language_root cpp "${cpp_packages[@]}"\n', "  build_root cpp - no_such_command\n"
    )
    done = installation.install(**AWAY)
    assert done.returncode != 0
    assert "no_such_command" in done.stderr
    assert installation.version() == before
    assert not list((installation.prefix / "languages").iterdir())
