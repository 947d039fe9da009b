"""The toolchains as Piston lists its runtimes: names, aliases, versions, and selectors of those (npm's)."""

import dataclasses
import functools
import pathlib
import re
import tomllib

import semantic_version

from daemon.api.errors import ApiProblem
from daemon.api.parsing import NAMED_MAX
from daemon.judge.versions import Versions
from daemon.toolchain.registry import Registry, UnknownLanguage
from daemon.toolchain.schema import Toolchain

NAMES = pathlib.Path(__file__).parent / "names.toml"
SELECTOR_MAX = 256  # characters, as in npm's semver
UNKNOWN = "0.0.0"  # of a toolchain that has not said its version yet: any selector is for it
_VERSION = re.compile(r"\d+(?:\.\d+){0,2}")
_AFTER_OPERATOR = re.compile(r"([<>=~^])\s+")
_LEADING_V = re.compile(r"(?<![\w.])[vV](?=\d)")


@dataclasses.dataclass(frozen=True, slots=True)
class Runtime:
    """`language` is Piston's name of it. `runtime` is its package, None where that is called the same."""

    toolchain: Toolchain
    language: str
    version: str
    aliases: tuple[str, ...]
    runtime: str | None


class Runtimes:
    """Of all enabled toolchains, one version each."""

    def __init__(self, toolchains: Registry, versions: Versions) -> None:
        self._toolchains, self._versions = toolchains, versions
        table = tomllib.loads(NAMES.read_text())
        self._names = {one.id: table.get(one.id, {}) for one in toolchains}
        self._ids = {alias: name for name, its in self._names.items() for alias in its.get("aliases", ())}

    def all(self) -> list[Runtime]:
        """In the order of the toolchains' ids."""
        return [self._of(toolchain) for toolchain in self._toolchains]

    def find(self, language: str, selector: str) -> Runtime:
        """By name or alias, whatever the case. Raises ApiProblem 400 where there is none, or of no such version."""
        name = language.lower()
        try:
            found = self._of(self._toolchains.find(self._ids.get(name, name)))
        except UnknownLanguage:
            found = None
        if found is None or not (found.version == UNKNOWN or satisfies(found.version, selector)):
            wanted = f"{language[:NAMED_MAX]}-{selector[:NAMED_MAX]}"
            raise ApiProblem(400, "unsupported_language", f"{wanted} runtime is unknown")
        return found

    def _of(self, toolchain: Toolchain) -> Runtime:
        its = self._names[toolchain.id]
        language = its.get("language", toolchain.id)
        names = dict.fromkeys((*toolchain.names, *its.get("aliases", ())))
        aliases = tuple(name for name in names if name != language)
        version = version_of(self._versions.text(toolchain.id) or "")
        return Runtime(toolchain, language, version, aliases, its.get("runtime"))


def version_of(text: str) -> str:
    """What a toolchain says of itself as a version of three numbers: `3.11.2` of `Python 3.11.2`."""
    found = _VERSION.search(text)
    numbers = [] if found is None else [str(int(number)) for number in found[0].split(".")]
    return ".".join([*numbers, "0", "0", "0"][:3])


@functools.lru_cache(1024)
def satisfies(version: str, selector: str) -> bool:
    """Whether a range of versions has this one; False for what is no range."""
    if len(selector) > SELECTOR_MAX:
        return False
    plain = _LEADING_V.sub("", _AFTER_OPERATOR.sub(r"\1", selector.strip()))
    try:
        return bool(semantic_version.NpmSpec(plain).match(semantic_version.Version(version)))
    except ValueError:
        return False
