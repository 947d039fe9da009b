"""Imports run one way, privileged parts stay small, and only the keeper starts nsjail."""

import ast
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
FILES = sorted((ROOT / "daemon").rglob("*.py"))
MAY_IMPORT = {
    "sandbox": {"sandbox"},
    "warden": {"warden", "sandbox"},
    "host": {"host", "sandbox"},
    "keeper": {"keeper", "host", "sandbox"},
    "toolchain": {"toolchain", "sandbox"},
    "validation": {"validation", "toolchain", "sandbox"},
    "turns": {"turns", "sandbox"},
    "judge": {"judge", "toolchain", "sandbox"},
    "grading": {"grading", "judge", "toolchain", "turns", "sandbox"},
    "api": {
        "api",
        "grading",
        "judge",
        "validation",
        "toolchain",
        "turns",
        "sandbox",
        "settings",
        "logs",
        "places",
        "addresses",
    },
    "dialects": {
        "addresses",
        "dialects",
        "api",
        "judge",
        "toolchain",
        "turns",
        "sandbox",
        "settings",
        "logs",
        "places",
    },
    "reach": {"addresses", "settings", "sandbox"},
    "addresses": set(),
    "logs": {"host", "settings"},
    "places": set(),
    "settings": {"toolchain", "host", "sandbox", "addresses", "settings_doors"},
    "settings_doors": set(),
    "attack": {"attack", "app", "host", "judge", "sandbox", "settings", "toolchain"},
    "bench": {"bench", "launch", "settings", "toolchain", "sandbox"},
    "supervisor": {"host"},
    "remote": {"sandbox"},
    "mcp_server": {"mcp_server"},
    "mcp_command": {"remote", "mcp_server", "terminal"},
}
ONLY_IN = {
    "pydantic": {"api", "dialects", "grading", "toolchain", "settings", "settings_doors"},
    "yaml": {"grading"},
    "pydantic_settings": {"settings"},
    "aiohttp": {"api", "app", "cli", "dialects"},
    "prometheus_client": {"api"},
    "opentelemetry": {"api"},
    "seccomp": {"keeper"},
    "pyseccomp": {"keeper"},
    "cellblock_client": {"remote", "run_command", "mcp_command", "mcp_server"},
    "httpx": set(),
    "mcp": {"mcp_server"},
    "starlette": {"mcp_server"},
    "uvicorn": {"mcp_server"},
}


def part(path: pathlib.Path) -> str:
    return path.relative_to(ROOT / "daemon").parts[0].removesuffix(".py")


def imports(path: pathlib.Path) -> set[str]:
    """Absolute names, daemon.x of relative imports beyond the part included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: pathlib.Path) -> None:
    allowed = MAY_IMPORT.get(part(path))
    own = {name.split(".")[1] for name in imports(path) if name.startswith("daemon.")}
    assert allowed is None or own <= allowed, f"{own - allowed} may not be imported here"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_libraries_stay_in_their_layer(path: pathlib.Path) -> None:
    for name in imports(path):
        library = name.split(".")[0]
        assert part(path) in ONLY_IN.get(library, {part(path)}), f"{library} does not belong here"


def test_the_client_needs_nothing_of_the_daemon_and_one_library() -> None:
    allowed = sys.stdlib_module_names | {"httpx"}
    for path in sorted((ROOT / "clients" / "python" / "cellblock_client").glob("*.py")):
        assert {name.split(".")[0] for name in imports(path)} <= allowed, path


@pytest.mark.parametrize("name", ["sandbox", "host", "keeper", "warden", "supervisor"])
def test_privileged_parts_use_the_standard_library_only(name: str) -> None:
    allowed = sys.stdlib_module_names | {"daemon", "seccomp", "pyseccomp"}
    for path in FILES:
        if part(path) == name:
            assert {module.split(".")[0] for module in imports(path)} <= allowed, path


def test_nothing_outside_the_keeper_starts_nsjail() -> None:
    """Others may name its path (app.py hands it to the keeper), but only the keeper holds its flags."""
    for path in FILES:
        if part(path) != "keeper":
            text = path.read_text()
            assert "--pass_fd" not in text and "--bindmount" not in text, path


def test_no_language_is_named_in_code() -> None:
    """A language is one file in toolchains/, never a branch in Python."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare):
                constants = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant)}
                assert not constants & {"python", "typescript", "rust"}, f"{path}:{node.lineno}"
