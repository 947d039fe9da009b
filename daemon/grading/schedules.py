"""Which tests may run next, and what is settled: for a list of tests, and for a package's groups. Pure."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

from . import verdicts
from .group_scoring import GroupTree, group_progress
from .legacy_scoring import LegacyTree, legacy_progress
from .scoring import ROOT, Progress, Result


class Schedule(Protocol):
    """Decides anew after every result."""

    def progress(self, known: Mapping[str, Result]) -> Progress:
        """What follows from the results of tests that are known, by their names."""


@dataclasses.dataclass(frozen=True, slots=True)
class Listed:
    """Tests in a row, without groups and scores."""

    names: Sequence[str]
    stop_on_failure: bool

    def progress(self, known: Mapping[str, Result]) -> Progress:
        """A test after one that failed is skipped where that is asked, whatever it gave."""
        found = [known[name].verdict if name in known else None for name in self.names]
        settled = verdicts.settled(found, self.stop_on_failure)
        results = {
            name: known[name] if name in known and known[name].verdict is verdict else Result(verdict)
            for name, verdict in zip(self.names, settled, strict=False)
        }
        needed = verdicts.needed(found, self.stop_on_failure)
        if len(settled) == len(self.names):
            results[ROOT] = Result(verdicts.of_submission(settled))
        return Progress(results, tuple(name for name in self.names[:needed] if name not in known))


@dataclasses.dataclass(frozen=True, slots=True)
class Legacy:
    """By testdata.yaml."""

    tree: LegacyTree

    def progress(self, known: Mapping[str, Result]) -> Progress:
        """legacy_scoring.py."""
        return legacy_progress(self.tree, known)


@dataclasses.dataclass(frozen=True, slots=True)
class Grouped:
    """By test_group.yaml."""

    tree: GroupTree
    stop_on_failure: bool

    def progress(self, known: Mapping[str, Result]) -> Progress:
        """group_scoring.py."""
        return group_progress(self.tree, known, self.stop_on_failure)
