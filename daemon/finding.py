"""One line of the doctor's report: what was found, how bad it is, and what to do."""

import dataclasses
import enum


class Grade(enum.StrEnum):
    """OK; UNKNOWN where the host does not tell; WARN where a promise is weaker or a figure blurred; FAIL where nothing
    can run."""

    OK = "ok"
    UNKNOWN = "?"
    WARN = "warn"
    FAIL = "fail"


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """`hint` says how to mend it, in one sentence."""

    grade: Grade
    name: str
    fact: str
    hint: str = ""
