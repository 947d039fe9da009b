"""The header `traceparent` of W3C Trace Context, level 1 (https://www.w3.org/TR/trace-context-1/#traceparent-header)."""

import dataclasses
import re

_VERSION_00 = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_LATER = re.compile(r"(?!ff|00)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
NO_TRACE, NO_SPAN = "0" * 32, "0" * 16
SAMPLED = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Trace:
    """Ids in lower-case hexadecimal, 32 and 16 characters; `is_sampled`: the caller records its own span."""

    trace_id: str
    span_id: str
    is_sampled: bool


def of_header(text: str | None) -> Trace | None:
    """What the header says; None where there is none or it is not valid, which the specification tells to ignore.

    Of a later version than 00 what is known of it is read (section 4.3, "Versioning of traceparent").
    """
    found = None if text is None else _VERSION_00.fullmatch(text) or _LATER.fullmatch(text)
    if found is None or found[1] == NO_TRACE or found[2] == NO_SPAN:
        return None
    return Trace(found[1], found[2], bool(int(found[3], 16) & SAMPLED))
