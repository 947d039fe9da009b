"""The words of test groups that both package formats share: results, progress, the names of a tree.

A test case is named by its path under `data/` without extension, `secret/group1/01`; a group by the path of its
directory, `secret/group1`; the root by "". legacy_scoring.py and group_scoring.py hold the rules of a format each.
Pure: no clock, no descriptor, no task.
"""

import dataclasses
from collections.abc import Iterable, Mapping

from .verdicts import Verdict

ROOT = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """Of a test case or of a group. Of a case, `score` and `multiplier` are what the validator wrote to `score.txt` and
    `score_multiplier.txt`, None where it wrote none. Of a group, `score` is None where there is none to speak of."""

    verdict: Verdict
    score: float | None = None
    multiplier: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class GraderCall:
    """A custom grader has to be asked: for the group of this name, with these arguments and these sub-results."""

    group: str
    flags: tuple[str, ...]
    results: tuple[Result, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """What follows from the results that are known so far.

    `results` has every case and group that is decided; a case that must not be run any more is SK there, whatever it
    gave. `may_run` are the cases that are not known and may be run now, in the order of the format: who runs one at a
    time takes the first, who runs several at once takes as many from the front, and ends those that leave the list.
    Cases that wait for the verdict of another group are in neither. `to_grade` are calls of custom graders whose
    results are to be handed in under the group's name. `problems` says what a package or its validator did against the
    format, in sentences for a judge. All is done when ROOT is in `results`.
    """

    results: Mapping[str, Result]
    may_run: tuple[str, ...]
    to_grade: tuple[GraderCall, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def outcome(self) -> Result | None:
        """The result of the submission; None while it is open."""
        return self.results.get(ROOT)


@dataclasses.dataclass(frozen=True, slots=True)
class Directory:
    """A directory of test data: the directories and cases in it, by the order of their base names."""

    name: str
    children: "tuple[Directory | str, ...]"

    def cases(self) -> tuple[str, ...]:
        """All cases in it and below, in order."""
        found: list[str] = []
        for child in self.children:
            found += [child] if isinstance(child, str) else child.cases()
        return tuple(found)


def directory_tree(cases: Iterable[str], name: str = ROOT) -> Directory:
    """The tree that the names of `cases` describe, below `name`. "Test cases and groups will be used in lexicographical
    order on file base name" (legacy format, "Test data groups"). Raises ValueError where a case and a directory have
    the same name, and for a name with an empty part."""
    prefix = f"{name}/" if name else ""
    here: set[str] = set()
    below: dict[str, list[str]] = {}
    for case in cases:
        base, slash, _ = case.removeprefix(prefix).partition("/")
        if not base or case.endswith("/"):
            raise ValueError(f"{case!r} is no name of a test case")
        if slash:
            below.setdefault(base, []).append(case)
        else:
            here.add(base)
    if both := here & below.keys():
        raise ValueError(f"{prefix}{min(both)} is a test case and a directory")
    children = [
        directory_tree(below[base], prefix + base) if base in below else prefix + base
        for base in sorted(here | below.keys())
    ]
    return Directory(name, tuple(children))


def number(values: Mapping[str, object], key: str, default: float) -> float:
    """A number of a YAML file. Raises ValueError for anything else; a boolean is no number."""
    value = values.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ValueError(f"{key} must be a number, not {value!r}")
    return float(value)


def one_of(values: Mapping[str, object], key: str, allowed: tuple[str, ...], default: str) -> str:
    """A word of a YAML file. Raises ValueError for another than those allowed."""
    value = values.get(key, default)
    if value not in allowed:
        raise ValueError(f"{key} must be one of {', '.join(allowed)}, not {value!r}")
    return str(value)
