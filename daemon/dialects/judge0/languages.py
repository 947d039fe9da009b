"""Which ids of Judge0 stand for which toolchains; languages.json has them by toolchain id, the newest of 1.13 first."""

import dataclasses
import json
import pathlib
import shlex
from collections.abc import Iterator

from daemon.judge.versions import Versions
from daemon.toolchain.registry import Registry
from daemon.toolchain.schema import StepEntry, Toolchain, fill_static

IDS = pathlib.Path(__file__).with_name("languages.json")


@dataclasses.dataclass(frozen=True, slots=True)
class Flavour:
    """Judge0 has two, whose ids differ: clients point to `prefix`, and tell them apart by `version`."""

    name: str
    prefix: str
    version: str


FLAVOURS = (Flavour("ce", "/judge0", "1.13.1"), Flavour("extra", "/judge0-extra", "1.13.1-extra"))


class Languages:
    """Those of a flavour that this server has."""

    def __init__(self, flavour: Flavour, toolchains: Registry, versions: Versions) -> None:
        ids: dict[str, list[int]] = json.loads(IDS.read_text())[flavour.name]
        found = {number: toolchain for toolchain in toolchains for number in ids.get(toolchain.id, ())}
        self._by_id, self._versions = dict(sorted(found.items())), versions

    def __iter__(self) -> Iterator[int]:
        return iter(self._by_id)

    def find(self, number: int | None) -> Toolchain | None:
        """None: there is no language of this id."""
        return None if number is None else self._by_id.get(number)

    def name(self, toolchain: Toolchain) -> str:
        """Such as `Python (Python 3.11.2)`; without the version while that is not known yet."""
        version = self._versions.text(toolchain.id)
        return toolchain.title if version is None else f"{toolchain.title} ({version})"

    def entry(self, number: int, *, with_archived: bool = False) -> dict[str, object]:
        """As a list has it."""
        entry: dict[str, object] = {"id": number, "name": self.name(self._by_id[number])}
        return {**entry, "is_archived": False} if with_archived else entry

    def details(self, number: int) -> dict[str, object]:
        """As GET /languages/{id} has it."""
        toolchain = self._by_id[number]
        *compiles, run = toolchain.steps
        commands = [_command(toolchain, step) for step in compiles]
        return {
            **self.entry(number, with_archived=True),
            "source_file": toolchain.source,
            "compile_cmd": " && ".join(commands) or None,
            "run_cmd": _command(toolchain, run),
        }


def _command(toolchain: Toolchain, step: StepEntry) -> str:
    """As a shell would have it. What is known at go only (the memory) stays a placeholder."""
    left = [other.artifact for other in toolchain.steps if other.artifact is not None]
    artifact = step.artifact or (left[-1] if left else "")
    values = {"source": toolchain.source, "artifact": artifact}
    return shlex.join(fill_static(argument, values) for argument in step.argv)
