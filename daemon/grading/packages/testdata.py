"""Reads data/: groups with their rules, and tests in the order of judging.

Legacy packages have testdata.yaml, which groups below inherit; 2025-09 has test_group.yaml, of which only arguments
and full_feedback are inherited. Drafts of 2023-07 had testdata.yaml, with legacy's keys in Kattis' own packages and
with other keys in the draft's text: of these, arguments are read, and scoring is refused for want of a meaning.
"""

import dataclasses
from collections.abc import Iterable, Iterator

from . import constants
from .fields import Fields, Warnings
from .metadata import LegacyGrading, Metadata
from .problem import Aggregation, Case, Format, Group, GroupRules, LegacyRules, OnReject
from .refusal import PackageRefused
from .tree import Tree, name_of, stem
from .yaml_text import BYTES_MAX, parse

DATA, SAMPLE, SECRET = "data", "sample", "secret"
LEGACY_FILE, FILE = "testdata.yaml", "test_group.yaml"
IGNORED_FOLDERS = {"invalid_input", "invalid_output", "valid_output", "invalid_inputs", "invalid_answers",
    "invalid_outputs", "valid_outputs", "bad", "test_cases", "testing_tool_cases", "fuzz"}  # fmt: skip
ARGUMENTS = ("args", "output_validator_args")
UNUSED_ARGUMENTS = ("input_validator_args", "static_validator_args", "input_visualizer_args", "output_visualizer_args")
SCORING_KEYS = ("max_score", "score_aggregation", "require_pass")
LEGACY_SCORING_KEYS = ("accept_score", "reject_score", "range")
ARGS_BYTES = 64 << 10
SCORE_MAX = 1 << 53


@dataclasses.dataclass(frozen=True, slots=True)
class _Inherited:
    """What a group hands on to its tests and, where they say nothing else, to the groups below."""

    rules: LegacyRules | GroupRules
    validator_args: tuple[str, ...]
    args: tuple[str, ...]
    full_feedback: bool


def read(tree: Tree, metadata: Metadata, warnings: Warnings) -> tuple[tuple[Group, ...], tuple[Case, ...]]:
    """All groups, each before those below it, and all tests, both in the order of judging. Raises PackageRefused."""
    reader = _Reader(tree, metadata, warnings)
    reader.read_all()
    if not reader.cases:
        raise PackageRefused(f"{DATA}: has no test: a test is a file .in and a file .ans of the same name")
    if all(case.is_sample for case in reader.cases):
        warnings.add(f"{DATA}/{SECRET}: has no test")
    return tuple(reader.groups), tuple(reader.cases)


def has_legacy_rules(tree: Tree, metadata: Metadata) -> bool:
    """True where groups have a testdata.yaml, and no test_group.yaml."""
    names = {name_of(path) for path in tree.below(DATA)}
    return metadata.format is Format.LEGACY or (LEGACY_FILE in names and FILE not in names)


class _Reader:
    def __init__(self, tree: Tree, metadata: Metadata, warnings: Warnings) -> None:
        self._tree, self._metadata, self._warnings = tree, metadata, warnings
        self._is_legacy = has_legacy_rules(tree, metadata)
        self.groups: list[Group] = []
        self.cases: list[Case] = []

    def read_all(self) -> None:
        top = self._settings("", None)
        folders = [name for name in (SAMPLE, SECRET) if self._tree.is_folder(f"{DATA}/{name}")]
        self._add("", None, tuple(folders), top)
        for path in self._tree.children(DATA):
            name = name_of(path)
            if self._tree.is_folder(path) and name not in (SAMPLE, SECRET) and name not in IGNORED_FOLDERS:
                self._warnings.add(f"{path}: is not used; tests are in {DATA}/{SAMPLE} and {DATA}/{SECRET}")
        for name in folders:
            if self._is_legacy:
                self._legacy_group(name, "", top)
            else:
                self._group(name, "", top)

    def _legacy_group(self, name: str, parent: str, above: _Inherited) -> None:
        """Tests and groups in the order of their base names, one among the other (legacy, "Test data groups")."""
        own = self._settings(name, above)
        folder = f"{DATA}/{name}"
        inputs = {stem(path): path for path in self._inputs(self._tree.children(folder))}
        subgroups = [path for path in self._tree.children(folder) if self._holds_tests(path)]
        for base in set(inputs) & set(subgroups):
            raise PackageRefused(f"{base}: is a group and a test")
        order = sorted([*inputs, *subgroups], key=name_of)
        self._add(name, parent, tuple(path.removeprefix(f"{DATA}/") for path in order), own)
        for path in order:
            if path in inputs:
                self._case(path, name, own)
            else:
                self._legacy_group(path.removeprefix(f"{DATA}/"), name, own)

    def _group(self, name: str, parent: str, above: _Inherited) -> None:
        """In the order of names (2025-09, "Test data groups"). A folder is a group if it has a test_group.yaml."""
        own = self._settings(name, above)
        folder = f"{DATA}/{name}"
        groups = [path for path in self._tree.children(folder) if self._tree.is_file(f"{path}/{FILE}")]
        if groups and name != SECRET:
            raise PackageRefused(f"{groups[0]}/{FILE}: there are groups in {DATA}/{SECRET} only, and none in a group")
        inputs = sorted(stem(path) for path in self._inputs(self._tree.below(folder)))
        for path in inputs if groups else ():
            if not any(path.startswith(f"{group}/") for group in groups):
                raise PackageRefused(f"{path}.in: is in no group, although {DATA}/{SECRET} has groups")
        order = sorted(groups) if groups else inputs
        self._add(name, parent, tuple(path.removeprefix(f"{DATA}/") for path in order), own)
        for path in order:
            if groups:
                self._group(path.removeprefix(f"{DATA}/"), name, own)
            else:
                self._case(path, name, own)

    def _holds_tests(self, path: str) -> bool:
        """A folder without any test, such as the .files of one, is no group."""
        return self._tree.is_folder(path) and any(self._inputs(self._tree.below(path)))

    def _inputs(self, paths: Iterable[str]) -> Iterator[str]:
        for path in paths:
            if path.endswith(".in") and self._tree.is_file(path) and ".files/" not in path:
                yield path
            elif path.endswith(".ans") and not self._tree.is_file(f"{stem(path)}.in") and ".files/" not in path:
                self._warnings.add(f"{path}: is not used: there is no {name_of(stem(path))}.in")

    def _add(self, name: str, parent: str | None, items: tuple[str, ...], own: "_Settings") -> None:
        if not items and name not in ("", SAMPLE, SECRET):
            raise PackageRefused(f"{DATA}/{name}: is a group without a test")
        self.groups.append(Group(name, parent, items, own.declared, own.rules))

    def _settings(self, name: str, above: _Inherited | None) -> "_Settings":
        """What the group's own file says over what it inherits."""
        file = f"{DATA}/{name}/{LEGACY_FILE if self._is_legacy else FILE}".replace("//", "/")
        fields = self._fields(file)
        if above is None:
            flags = self._metadata.validator_flags
            rules: LegacyRules | GroupRules
            rules = _first_legacy_rules(self._metadata.grading) if self._is_legacy else _no_rules()
            above = _Inherited(rules, flags, (), False)
        scoring = "scoring" in self._metadata.types
        if isinstance(above.rules, LegacyRules):
            found = _legacy_settings(fields, above, self._metadata.validator_flags, scoring)
        else:
            found = _new_settings(fields, above, name, scoring)
        fields.finish()
        return found

    def _fields(self, file: str) -> Fields:
        content = self._tree.read(file, BYTES_MAX) if self._tree.is_file(file) else b""
        content = constants.put(file, content, self._metadata.constants, BYTES_MAX)
        return Fields(file, parse(file, content), self._warnings)

    def _case(self, path: str, group: str, own: _Inherited) -> None:
        """The test of `path`.in. .files is carried; .args (drafts of 2023-07) is read into args."""
        tree = self._tree
        if not tree.is_file(f"{path}.ans"):
            raise PackageRefused(f"{path}.in: there is no {name_of(path)}.ans")
        args, validator_args, feedback = own.args, own.validator_args, own.full_feedback
        files = f"{path}.files" if tree.is_folder(f"{path}.files") else None
        if self._metadata.format is Format.V2023_07:
            if tree.is_file(f"{path}.args"):
                args = tuple(tree.read(f"{path}.args", ARGS_BYTES).decode("utf-8", "replace").split())
            fields = self._fields(f"{path}.yaml")
            fields.skip(*UNUSED_ARGUMENTS, "hint", "description")
            args, validator_args = (
                given if given is not None else inherited
                for given, inherited in zip(map(fields.words, ARGUMENTS), (args, validator_args), strict=True)
            )
            given = fields.boolean("full_feedback")
            feedback = feedback if given is None else given
            fields.finish()
        elif files is not None or tree.is_file(f"{path}.args"):
            self._warnings.add(f"{path}: .files and .args are not part of the legacy format and are not used")
            files = None
        self.cases.append(
            Case(
                path.removeprefix(f"{DATA}/"), group, f"{path}.in", f"{path}.ans", tree.size(f"{path}.in"),
                tree.size(f"{path}.ans"), args, files, validator_args, feedback,
            )
        )  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class _Settings(_Inherited):
    declared: tuple[str, ...]


def _first_legacy_rules(grading: LegacyGrading) -> LegacyRules:
    """The defaults, below four keys of problem.yaml that are older than testdata.yaml."""
    accept = 1.0 if grading.accept_score is None else grading.accept_score
    reject = 0.0 if grading.reject_score is None else grading.reject_score
    low, high = grading.range or (float("-inf"), float("inf"))
    return LegacyRules(grading.on_reject or OnReject.BREAK, "default", (), accept, reject, low, high)


def _no_rules() -> GroupRules:
    return GroupRules(None, Aggregation.PASS_FAIL, ())


def _legacy_settings(fields: Fields, above: _Inherited, flags: tuple[str, ...], is_scoring: bool) -> _Settings:
    rules = above.rules
    assert isinstance(rules, LegacyRules)
    _refuse_draft_scoring(fields)
    if not is_scoring:
        for key in LEGACY_SCORING_KEYS:
            if key in fields.given():
                fields.warn(key, "is for scoring problems")
    on_reject = fields.one_of("on_reject", tuple(OnReject))
    accept, reject, low_high = fields.number("accept_score"), fields.number("reject_score"), fields.range("range")
    grader_flags = fields.words("grader_flags")
    low, high = low_high or (rules.range_low, rules.range_high)
    fields.skip("input_validator_flags", *UNUSED_ARGUMENTS)
    arguments = _flags(fields)
    own = LegacyRules(
        on_reject=OnReject(on_reject) if on_reject else rules.on_reject,
        grading=fields.one_of("grading", ("default", "custom")) or rules.grading,
        grader_flags=rules.grader_flags if grader_flags is None else grader_flags,
        accept_score=rules.accept_score if accept is None else accept,
        reject_score=rules.reject_score if reject is None else reject,
        range_low=low,
        range_high=high,
    )
    validator_args = above.validator_args if arguments is None else flags + arguments
    return _Settings(own, validator_args, above.args, above.full_feedback, fields.given())


def _flags(fields: Fields) -> tuple[str, ...] | None:
    """Arguments of the output validator: a text, or a map with the keys name and flags (legacy); in drafts, a list."""
    listed = fields.words("output_validator_args")
    if not isinstance(fields.value("output_validator_flags"), dict):
        return listed or fields.words("output_validator_flags")
    named = fields.map("output_validator_flags")
    named.skip("name")
    return named.words("flags") or ()


def _refuse_draft_scoring(fields: Fields) -> None:
    """Drafts of 2023-07 had a map here, whose meaning changed from draft to draft."""
    for key in ("scoring", "grading"):
        if isinstance(fields.value(key), dict):
            raise fields.refused(key, f"is a map of a draft of the format; {FILE} has taken its place")


def _new_settings(fields: Fields, above: _Inherited, name: str, is_scoring: bool) -> _Settings:
    fields.skip(*UNUSED_ARGUMENTS)
    if fields.value("static_validation_score") is not None:
        raise fields.refused("static_validation_score", "static validators are not supported")
    for key in SCORING_KEYS:
        if key in fields.given() and (not is_scoring or name == SAMPLE):
            fields.warn(key, "is for the secret data of scoring problems")
    is_secret = name == SECRET
    limit: int | None = 100 if is_secret else None
    if fields.value("max_score") is not None:
        limit = None if fields.text("max_score") == "unbounded" else fields.integer("max_score", 0)
    if limit is not None and limit > SCORE_MAX:
        raise fields.refused("max_score", "is too large")
    default = Aggregation.SUM if is_secret else Aggregation.PASS_FAIL
    aggregation = Aggregation(fields.one_of("score_aggregation", tuple(Aggregation)) or default)
    rules = GroupRules(limit, aggregation, fields.texts("require_pass") or ())
    args, validator_args = (
        given if given is not None else inherited
        for given, inherited in zip(map(fields.words, ARGUMENTS), (above.args, above.validator_args), strict=True)
    )
    feedback = fields.boolean("full_feedback")
    default_feedback = name == SAMPLE or above.full_feedback
    return _Settings(rules, validator_args, args, default_feedback if feedback is None else feedback, fields.given())
