"""jail.c, built for these tests: as it is installed, and with the sanitizers."""

import pathlib
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Callable, Iterator

import pytest

from . import player
from .player import FORK, Player

ROOT = pathlib.Path(__file__).parents[2]
SOURCE = ROOT / "daemon/warden/native/jail.c"
SANITIZED = ("gcc", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
Harness = Callable[..., str]


def compile_arguments(name: str = "jail") -> tuple[list[str], list[str]]:
    """Those of pyproject.toml: for the compiler and for the linker."""
    modules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["ext-modules"]
    (module,) = (one for one in modules if one["name"] == f"daemon.warden.native.{name}")
    return module["extra-compile-args"], module["extra-link-args"]


def build_package(directory: pathlib.Path) -> None:
    """Put `warden` and `sandbox` there, the libraries among them, as an installed package has them."""
    directory.chmod(0o755)
    for part in ("warden", "sandbox"):
        shutil.copytree(ROOT / "daemon" / part, directory / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("jail", "input"):
        compiling, linking = compile_arguments(name)
        library, source = directory / f"warden/native/{name}.abi3.so", SOURCE.with_name(f"{name}.c")
        subprocess.run(["gcc", *compiling, "-fPIC", "-shared", *linking, "-o", library, source], check=True)


@pytest.fixture(scope="session")
def package() -> Iterator[pathlib.Path]:
    """A directory as `build_package` makes it."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="native-"))
    build_package(directory)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def forks(package: pathlib.Path) -> Iterator[Player]:
    """A warden whose programs are forks."""
    with Player(player.plan(FORK), package) as running:
        yield running.ready()


def build_harness(directory: pathlib.Path, *command: str) -> pathlib.Path:
    """harness.c, built by this compiler with these arguments besides."""
    compiling, _ = compile_arguments()
    kept = [argument for argument in compiling if "FORTIFY" not in argument]  # the sanitizers do more
    target = directory / "harness"
    source = pathlib.Path(__file__).with_name("harness.c")
    subprocess.run([command[0], *kept, *command[1:], f"-I{SOURCE.parent}", "-o", target, source], check=True)
    return target


@pytest.fixture(scope="session", params=["sanitized", "aarch64"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    directory = tmp_path_factory.mktemp(request.param)
    if request.param == "sanitized":
        return [str(build_harness(directory, *SANITIZED))]
    return ["qemu-aarch64", str(build_harness(directory, "aarch64-linux-gnu-gcc", "-static"))]


@pytest.fixture
def harness(built: list[str], tmp_path: pathlib.Path) -> Harness:
    def run(*arguments: str, given: bytes = b"") -> str:
        done = subprocess.run([*built, *arguments], input=given, capture_output=True, cwd=tmp_path, timeout=60)
        assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
        return done.stdout.decode()

    return run
