"""Reads problem.yaml of both formats, and the time limit wherever the package says it."""

import dataclasses
import re

from .fields import Fields, Warnings
from .problem import Format, OnReject, PackageLimits, ProblemType, Timing
from .refusal import PackageRefused
from .tree import YAML_FILE, Tree
from .yaml_text import BYTES_MAX, parse

MIB, KIB = 1 << 20, 1 << 10
LEGACY_VERSIONS = ("legacy", "legacy-icpc")
VERSIONS = ("2023-07", "2023-07-draft", "2025-09", "2025-09-draft", "draft")
TIMELIMIT_FILE, INI_FILE = ".timelimit", "domjudge-problem.ini"
SMALL_FILE_BYTES = 4096
SECONDS_MAX = 86_400.0
PASSES_MAX = 100  # each is a run of its own, and what its validator left is held until the test's end
STATEMENT_BYTES = 256 << 10
PLAIN_NAME = re.compile(r"^\s*%%\s*plainproblemname:\s*(\S.*?)\s*$", re.MULTILINE)
TEX_NAME = re.compile(r"\\problemname\{([^{}]*)\}")
STATEMENT = re.compile(r"problem(?:\.([a-zA-Z-]+))?\.tex")
INI_LIMIT = re.compile(r"^\s*timelimit\s*=\s*['\"]?([0-9.]+)['\"]?\s*$", re.MULTILINE)
CONSTANT = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
NEW_TYPES = (*map(str, ProblemType), "submit-answer")


@dataclasses.dataclass(frozen=True, slots=True)
class LegacyGrading:
    """What legacy's `grading` says, and four keys there that are older than testdata.yaml and still its defaults."""

    maximize: bool
    accept_score: float | None
    reject_score: float | None
    range: tuple[float, float] | None
    on_reject: OnReject | None


@dataclasses.dataclass(frozen=True, slots=True)
class Metadata:
    """problem.yaml. `custom_validator` None leaves it to the folder of validators, as 2023-07 does."""

    format: Format
    declared_version: str
    names: tuple[tuple[str, str], ...]
    uuid: str | None
    types: tuple[ProblemType, ...]
    limits: PackageLimits
    timing: Timing
    languages: tuple[str, ...] | None
    allow_file_writing: bool
    constants: tuple[tuple[str, str], ...]
    custom_validator: bool | None
    gives_score: bool
    validator_flags: tuple[str, ...]
    grading: LegacyGrading


def read(tree: Tree, warnings: Warnings) -> Metadata:
    """Raises PackageRefused, which names file and key."""
    fields = Fields(YAML_FILE, parse(YAML_FILE, tree.read(YAML_FILE, BYTES_MAX)), warnings)
    version = fields.text("problem_format_version") or LEGACY_VERSIONS[0]
    if version in LEGACY_VERSIONS:
        metadata = _legacy(tree, fields, version)
    elif version in VERSIONS:
        metadata = _new(fields, version)
    else:
        known = ", ".join(LEGACY_VERSIONS + VERSIONS)
        raise fields.refused("problem_format_version", f"{version!r} is not one of {known}")
    fields.skip("author", "source", "source_url", "license", "rights_owner", "keywords")
    fields.finish()
    return dataclasses.replace(metadata, timing=_with_limit(tree, metadata.timing, warnings))


def _legacy(tree: Tree, fields: Fields, version: str) -> Metadata:
    kind = fields.one_of("type", (ProblemType.PASS_FAIL, ProblemType.SCORING)) or ProblemType.PASS_FAIL
    types = [ProblemType(kind)]
    custom, *options = (fields.text("validation") or "default").split()
    if custom not in ("default", "custom") or (custom == "default" and options):
        raise fields.refused("validation", "must be default, or custom with some of score, interactive and multi-pass")
    for option in options:
        if option in (ProblemType.INTERACTIVE, ProblemType.MULTI_PASS):  # multi-pass is DOMjudge's
            types.append(ProblemType(option))
        elif option != "score":
            raise fields.refused("validation", f"custom has no option {option!r}")
    if "score" in options and ProblemType.SCORING not in types:
        raise fields.refused("validation", "score needs type: scoring")
    limits = fields.map("limits")
    timing = _timing(limits, limits, ("time_multiplier", 5.0), ("time_safety_margin", 2.0))
    return Metadata(
        format=Format.LEGACY, declared_version=version, names=_names(fields) or _names_of_statements(tree),
        uuid=fields.text("uuid"), types=tuple(types), limits=_limits(limits), timing=timing,
        languages=None, allow_file_writing=True, constants=(), custom_validator=custom == "custom",
        gives_score="score" in options, validator_flags=fields.words("validator_flags") or (),
        grading=_legacy_grading(fields.map("grading")),
    )  # fmt: skip


def _legacy_grading(grading: Fields) -> LegacyGrading:
    objective = grading.one_of("objective", ("max", "min")) or "max"
    grading.skip("show_test_data_groups")
    on_reject = grading.one_of("on_reject", ("first_error", "worst_error", "grade"))
    found = LegacyGrading(
        objective == "max", grading.number("accept_score"), grading.number("reject_score"), grading.range("range"),
        {"first_error": OnReject.BREAK, "grade": OnReject.CONTINUE}.get(on_reject or ""),
    )  # fmt: skip
    grading.finish()
    return found


def _new(fields: Fields, version: str) -> Metadata:
    types = _types(fields)
    limits = fields.map("limits")
    multipliers = limits.map("time_multipliers")
    timing = _timing(limits, multipliers, ("ac_to_time_limit", 2.0), ("time_limit_to_tle", 1.5), least=1.0)
    multipliers.finish()
    names = _names(fields)
    if not names:
        raise fields.refused("name", "is missing")
    languages = fields.words("languages")
    fields.skip("version", "credits", "embargo_until")
    return Metadata(
        format=Format.V2023_07, declared_version=version, names=names, uuid=fields.text("uuid"), types=types,
        limits=_limits(limits), timing=timing, languages=None if languages in (("all",), None) else languages,
        allow_file_writing=bool(fields.boolean("allow_file_writing")), constants=_constants(fields.map("constants")),
        custom_validator=None, gives_score=ProblemType.SCORING in types, validator_flags=(),
        grading=LegacyGrading(True, None, None, None, None),
    )  # fmt: skip


def _types(fields: Fields) -> tuple[ProblemType, ...]:
    """In a text they may stand beside each other, which the format's own examples do."""
    words = fields.words("type") or ()
    for word in words:
        if word not in NEW_TYPES:
            raise fields.refused("type", f"{word!r} is not one of {', '.join(NEW_TYPES)}")
    if "submit-answer" in words:
        raise fields.refused("type", "submit-answer is not supported: there is no program to run")
    if {ProblemType.PASS_FAIL, ProblemType.SCORING} <= set(words):
        raise fields.refused("type", "pass-fail and scoring exclude each other")
    scoring = ProblemType.SCORING if ProblemType.SCORING in words else ProblemType.PASS_FAIL
    return (scoring, *(kind for kind in (ProblemType.INTERACTIVE, ProblemType.MULTI_PASS) if kind in words))


def _limits(limits: Fields) -> PackageLimits:
    limits.skip("time_resolution", "time_limit")
    found = PackageLimits(
        memory_bytes=limits.scaled("memory", MIB), output_bytes=limits.scaled("output", MIB),
        code_bytes=limits.scaled("code", KIB), compilation_s=_seconds(limits, "compilation_time"),
        compilation_memory_bytes=limits.scaled("compilation_memory", MIB),
        validation_s=_seconds(limits, "validation_time"),
        validation_memory_bytes=limits.scaled("validation_memory", MIB),
        validation_output_bytes=limits.scaled("validation_output", MIB),
        passes_max=_passes(limits),
    )  # fmt: skip
    limits.finish()
    return found


def _passes(limits: Fields) -> int:
    number = limits.integer("validation_passes", 1)
    if number is not None and number > PASSES_MAX:
        raise limits.refused("validation_passes", f"must be at most {PASSES_MAX}")
    return number or 2


def _timing(
    limits: Fields, factors: Fields, slowest: tuple[str, float], fastest: tuple[str, float], least: float | None = None
) -> Timing:
    """`slowest` and `fastest` are the keys of the two multipliers in `factors`, and their defaults."""
    limit = _seconds(limits, "time_limit")
    resolution = _seconds(limits, "time_resolution") or 1.0
    up, down = (factors.number(key, above=0, least=least) or default for key, default in (slowest, fastest))
    return Timing(limit, None if limit is None else YAML_FILE, up, down, resolution)


def _seconds(limits: Fields, key: str) -> float | None:
    number = limits.number(key, above=0)
    if number is not None and number > SECONDS_MAX:
        raise limits.refused(key, f"must be at most {SECONDS_MAX:g} seconds")
    return number


def _with_limit(tree: Tree, timing: Timing, warnings: Warnings) -> Timing:
    """problem.yaml before .timelimit before DOMjudge's .ini: the later ones are older ways to say it."""
    for file in (TIMELIMIT_FILE, INI_FILE):
        found = _limit_of(tree, file)
        if found is None:
            continue
        if timing.limit_s is None:
            timing = dataclasses.replace(timing, limit_s=found, source=file)
        elif timing.limit_s != found:
            warnings.add(f"{file}: {found:g} s is not used: {timing.source} says {timing.limit_s:g} s")
    return timing


def _limit_of(tree: Tree, file: str) -> float | None:
    if not tree.is_file(file):
        return None
    text = tree.read(file, SMALL_FILE_BYTES).decode("utf-8", "replace")
    if file == INI_FILE:
        line = INI_LIMIT.search(text)
        if line is None:
            return None
        text = line[1]
    try:
        seconds = float(text.strip())
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= SECONDS_MAX:
        raise PackageRefused(f"{file}: must be a number of seconds, above 0 and at most {SECONDS_MAX:g}")
    return seconds


def _names(fields: Fields) -> tuple[tuple[str, str], ...]:
    """A text is the name in English; a map has a name for each language."""
    value = fields.value("name")
    if not isinstance(value, dict):
        name = fields.text("name")
        return () if name is None else (("en", name),)
    names = fields.map("name")
    return tuple((language, names.text(language) or "") for language in names.given())


def _names_of_statements(tree: Tree) -> tuple[tuple[str, str], ...]:
    """Legacy, "Problem statements": the name stands in the statement, in a comment where it has markup."""
    found: dict[str, str] = {}
    for path in tree.children("problem_statement"):
        match = STATEMENT.fullmatch(path.rpartition("/")[2])
        if match and tree.is_file(path):
            text = tree.read(path, STATEMENT_BYTES).decode("utf-8", "replace")
            name = PLAIN_NAME.search(text) or TEX_NAME.search(text)
            if name:
                found[match[1] or "en"] = name[1].strip()
    return tuple(found.items())


def _constants(constants: Fields) -> tuple[tuple[str, str], ...]:
    """Pairs of what stands between {{ and }} and what it is replaced by (2025-09, "Constants")."""
    found: list[tuple[str, str]] = []
    for name in constants.given():
        if not CONSTANT.fullmatch(name):
            raise constants.refused(name, "is no name: letters, digits and _, no digit first")
        value = constants.value(name)
        if not isinstance(value, dict):
            text = constants.text(name) or ""
            found += [(name, text), (f"{name}.value", text)]
            continue
        variants = constants.map(name)
        if variants.text("value") is None:
            raise variants.refused("value", "is missing")
        found.append((name, variants.text("value") or ""))
        found += [(f"{name}.{variant}", variants.text(variant) or "") for variant in variants.given()]
    return tuple(found)
