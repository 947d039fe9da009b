"""What is promised of an example submission: by its folder, by submissions.yaml, or by a comment in its source.

Sources: "Example submissions" of both formats, and DOMjudge's appendix for the comment. The formats' RTE is whatever
ends a program that is not too slow, so it is RE, MLE and OLE here (problemtools reports memory and output so).
"""

import dataclasses
import itertools
import re

from .fields import Fields, Warnings
from .problem import Bound, Expected, Format, Rule

VERDICTS = {"AC": ("AC",), "WA": ("WA",), "TLE": ("TLE",), "RTE": ("RE", "MLE", "OLE")}
ANY = tuple(VERDICTS)
SOME_FAILURE = ("WA", "TLE", "RTE")
TOO_SLOW = ("TLE", "OLE")  # a program that prints without end is ended at our limit of output, before its time is up
ACCEPTED, PARTIAL = "accepted", "partially_accepted"
FOLDERS: dict[Format, dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {  # permitted, required; as rules of all
    Format.LEGACY: {
        ACCEPTED: (("AC",), ANY),
        PARTIAL: (ANY, ANY),
        "wrong_answer": (("AC", "WA"), ("WA",)),
        "time_limit_exceeded": (("AC", "WA", "TLE"), ("TLE",)),
        "run_time_error": (ANY, ("RTE",)),
        "rejected": (ANY, SOME_FAILURE),
    },
    Format.V2023_07: {
        ACCEPTED: (("AC",), ANY),
        "rejected": (ANY, SOME_FAILURE),
        "wrong_answer": (("AC", "WA"), ("WA",)),
        "time_limit_exceeded": (("AC", "TLE"), ("TLE",)),
        "run_time_error": (("AC", "RTE"), ("RTE",)),
        "brute_force": (("AC", "TLE", "RTE"), ("TLE", "RTE")),
    },
}
FINAL = {  # where rules of single tests do not tell the final verdict, or the folder is none of the formats'
    ACCEPTED: ("AC",), PARTIAL: ("AC",), "wrong_answer": ("WA",), "time_limit_exceeded": TOO_SLOW,
    "run_time_error": ("RTE",), "rejected": SOME_FAILURE, "brute_force": ("TLE", "RTE"),
    "compiler_error": ("CE",), "compile_error": ("CE",), "no_output": ("WA",), "output_limit": ("OLE",),
    "output_limit_exceeded": ("OLE",), "memory_limit_exceeded": ("MLE", "RE"),
}  # fmt: skip
OFFICIAL = {ACCEPTED, "wrong_answer", "time_limit_exceeded", "run_time_error"}  # a comment does not count there
RESULTS = re.compile(rb"@EXPECTED_(?:RESULTS|SCORE)@:[ \t]*([A-Z][A-Z_, \t-]*)", re.IGNORECASE)  # either, in DOMjudge
SCORE = re.compile(rb"@EXPECTED_SCORE@:[ \t]*([0-9]+(?:\.[0-9]+)?)", re.IGNORECASE)
COMMENTS = {  # DOMjudge's names of verdicts, and the formats', with - for _
    "CORRECT": ("AC",), "ACCEPTED": ("AC",), "WRONG-ANSWER": ("WA",), "NO-OUTPUT": ("WA",), "TIMELIMIT": TOO_SLOW,
    "TIME-LIMIT-EXCEEDED": TOO_SLOW, "RUN-ERROR": ("RTE",), "RUN-TIME-ERROR": ("RTE",), "COMPILER-ERROR": ("CE",),
    "OUTPUT-LIMIT": ("OLE",), "MEMORY-LIMIT": ("MLE",),
}  # fmt: skip
RULE_KEYS = ("permitted", "required", "score", "message", "use_for_time_limit")
METADATA_KEYS = ("language", "entrypoint", "authors", "model_solution")
BRACES = re.compile(r"\{([^{}]*)\}")
PATTERNS_MAX = 1024  # that the braces of one make
BRACES_MAX = 16  # of one: each is looked at for every pattern that those before it make


@dataclasses.dataclass(frozen=True, slots=True)
class Declared:
    """What an entry of submissions.yaml says of submissions that match its pattern; `use` is use_for_time_limit."""

    pattern: str
    use: str | None
    language: str | None
    entry_point: str | None
    rules: tuple[Rule, ...]


def of_folder(kind: Format, folder: str, source: bytes, path: str, warnings: Warnings) -> Expected:
    """By the folder and, where that is none of the official ones, by a comment in the source, which goes first."""
    comment = None if folder in OFFICIAL else _of_comment(source, path, warnings)
    if comment is not None:
        return comment
    default = FOLDERS[kind].get(folder)
    rules = () if default is None else (_rule("", *default),)
    return Expected(_codes(FINAL.get(folder, ())), folder == PARTIAL, None, "folder", rules)


def _of_comment(source: bytes, path: str, warnings: Warnings) -> Expected | None:
    results, score = RESULTS.search(source), SCORE.search(source)
    if results is None and score is None:
        return None
    verdicts: list[str] = []
    for word in results[1].decode().split(",") if results else ("CORRECT",):
        name = word.strip(" \t-").upper().replace("_", "-")
        if name not in COMMENTS:
            warnings.add(f"{path}: @EXPECTED_RESULTS@ has no verdict {name[:40]!r}")
        verdicts += COMMENTS.get(name, ())
    points = None if score is None else (float(score[1]),) * 2
    return Expected(_codes(verdicts), False, points, "comment", ())


def read_declared(file: str, fields: Fields) -> tuple[Declared, ...]:
    """The entries of submissions.yaml in their order. Raises PackageRefused."""
    return tuple(_declared(pattern, fields.map(pattern)) for pattern in fields.given())


def _declared(pattern: str, entry: Fields) -> Declared:
    entry.skip("authors", "model_solution")
    language, entry_point = entry.text("language"), entry.text("entrypoint")
    use = _read_use(entry)
    rules = [_read_rule("", entry)] if set(entry.given()) & set(RULE_KEYS) else []
    for cases in entry.given():
        if cases not in RULE_KEYS + METADATA_KEYS:
            if isinstance(entry.value(cases), dict):
                subset = entry.map(cases)
                rules.append(_read_rule(cases, subset))
                subset.finish()
            else:
                entry.warn(cases, "is neither a key of this format nor a map for some of the tests")
    return Declared(pattern, use, language, entry_point, tuple(rules))


def _read_rule(cases: str, entry: Fields) -> Rule:
    permitted, required = entry.texts("permitted"), entry.texts("required")
    for key, given in (("permitted", permitted), ("required", required)):
        for verdict in given or ():
            if verdict not in VERDICTS:
                raise entry.refused(key, f"{verdict!r} is not one of {', '.join(VERDICTS)}")
    score = entry.texts("score")
    both = None if score is None else entry.range("score") if len(score) == 2 else (entry.number("score") or 0.0,) * 2
    rule = _rule("", permitted or ANY, required or ANY)
    message = entry.text("message") or ""
    return _with_bound(dataclasses.replace(rule, cases=cases, score=both, message=message), _read_use(entry))


def _read_use(entry: Fields) -> str | None:
    use = (entry.text("use_for_time_limit") or "").lower()
    if use not in ("", "lower", "upper", "true", "false"):
        raise entry.refused("use_for_time_limit", "must be true, false, lower or upper")
    return use or None


def _rule(cases: str, permitted: tuple[str, ...], required: tuple[str, ...]) -> Rule:
    return _with_bound(Rule(cases, _codes(permitted), _codes(required), None, None, ""), None)


def _with_bound(rule: Rule, use: str | None) -> Rule:
    """As use_for_time_limit says, else the format's default (2025-09, "Timelimit inference")."""
    if use == "false":
        return dataclasses.replace(rule, bound=None)
    if use in tuple(Bound):
        return dataclasses.replace(rule, bound=Bound(use))
    bound = Bound.UPPER if rule.required == ("TLE",) else None if "TLE" in rule.permitted else Bound.LOWER
    return dataclasses.replace(rule, bound=bound)


def _codes(names: tuple[str, ...] | list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(itertools.chain.from_iterable(VERDICTS.get(name, (name,)) for name in names)))


def with_declared(expected: Expected, folder: str, declared: tuple[Declared, ...]) -> Expected:
    """What the entries that match add. An entry of the folder's very name replaces what the format says of it."""
    if not any(entry.rules for entry in declared):
        return expected
    rules = list(expected.rules)
    for entry in declared:
        if entry.pattern == folder and entry.rules and entry.rules[0].cases == "" and rules:
            own, default = entry.rules[0], rules.pop(0)
            rules = [_inherit(own, default, entry.use), *entry.rules[1:], *rules]
        else:
            rules += entry.rules
    verdicts = set(_codes(ANY))
    for rule in rules:
        if not rule.cases:
            verdicts &= set(rule.permitted)
        if "AC" not in rule.required:
            verdicts.discard("AC")
    scores = [rule.score for rule in rules if rule.score is not None and not rule.cases]
    ordered = tuple(code for code in _codes(ANY) if code in verdicts)
    partial = expected.partial and not scores
    return Expected(ordered, partial, scores[0] if scores else None, "submissions.yaml", tuple(rules))


def _inherit(own: Rule, default: Rule, use: str | None) -> Rule:
    """Keys that an entry for a default folder leaves out keep the format's value."""
    anything = _codes(ANY)
    permitted = default.permitted if own.permitted == anything else own.permitted
    required = default.required if own.required == anything else own.required
    return _with_bound(dataclasses.replace(own, permitted=permitted, required=required), use)


def matches(pattern: str, path: str) -> bool:
    """True where the pattern matches the path or a folder above it (2025-09, "Glob patterns"); "" matches all.

    * matches within a name, {a,b} is either; ** and [] mean nothing. A pattern with more than BRACES_MAX braces, or
    whose braces make more than PATTERNS_MAX others, matches nothing.
    """
    parts = path.split("/")
    candidates = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return not pattern or any(_fits(plain, name) for plain in _expanded(pattern) for name in candidates)


def _expanded(pattern: str) -> list[str]:
    found = [pattern] if pattern.count("{") <= BRACES_MAX else []
    while any(BRACES.search(one) for one in found):
        grown: list[str] = []
        for one in found:
            match = BRACES.search(one)
            choices = match[1].split(",") if match else []
            grown += [one[: match.start()] + word + one[match.end() :] for word in choices] if match else [one]
        found = grown
        if len(found) > PATTERNS_MAX:
            return []
    return found


def _fits(pattern: str, name: str) -> bool:
    """By hand, since a regular expression of many stars takes time that grows with their power."""
    parts, names = pattern.split("/"), name.split("/")
    return len(parts) == len(names) and all(map(_fits_name, parts, names))


def _fits_name(pattern: str, name: str) -> bool:
    first, *middle = pattern.split("*")
    if not middle:
        return first == name
    last = middle.pop()
    if len(name) < len(first) + len(last) or not name.startswith(first) or not name.endswith(last):
        return False
    position, end = len(first), len(name) - len(last)
    for piece in middle:
        found = name.find(piece, position, end)
        if found < 0:
            return False
        position = found + len(piece)
    return True
