"""Jobe's languages as data: languages.toml."""

import functools
import importlib.resources
import re
import tomllib
from collections.abc import Iterator

import pydantic

from daemon.toolchain.registry import Registry, UnknownLanguage
from daemon.toolchain.schema import Toolchain

MEMORY_MB = 400


class JobeLanguage(pydantic.BaseModel):
    """What languages.toml says of one. `memorylimit` is in MB, 0 is none."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    memorylimit: int = MEMORY_MB
    options: tuple[str, ...] = ()
    syntax_error: str | None = None

    def is_syntax_error(self, stderr: str) -> bool:
        """Whether this is what is said of a source that could not be parsed, and nothing else."""
        return self.syntax_error is not None and re.fullmatch(self.syntax_error, stderr) is not None


class Languages:
    """Those that `toolchains` has, by Jobe's names; toolchains that Jobe has not are there by their ids."""

    def __init__(self, toolchains: Registry) -> None:
        self._found: dict[str, tuple[JobeLanguage, Toolchain]] = {}
        for name, language in table().items():
            try:
                self._found[name] = language, toolchains.find(name)
            except UnknownLanguage:
                continue
        known = {toolchain.id for _, toolchain in self._found.values()}
        for toolchain in toolchains:
            if toolchain.id not in known:
                self._found[toolchain.id] = JobeLanguage(), toolchain

    def __iter__(self) -> Iterator[tuple[str, Toolchain]]:
        return iter(sorted((name, toolchain) for name, (_, toolchain) in self._found.items()))

    def find(self, name: str) -> tuple[JobeLanguage, Toolchain] | None:
        """By Jobe's name in any case."""
        return self._found.get(name.lower())


@functools.cache
def table() -> dict[str, JobeLanguage]:
    """All of languages.toml."""
    text = importlib.resources.files(__package__).joinpath("languages.toml").read_text(encoding="utf-8")
    return {name: JobeLanguage.model_validate(fields) for name, fields in tomllib.loads(text).items()}
