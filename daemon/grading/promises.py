"""Whether single tests keep the promise of an example submission, where its final verdict does not. Pure.

Both formats promise verdicts of tests: `time_limit_exceeded` is "too slow for some test case" and "may also give wrong
answer" (legacy, "Example submissions"). The first test that rejects decides the final verdict, and may be another one.
"""

from collections.abc import Iterator, Mapping

from .packages.expectations import matches
from .packages.problem import Expected, Rule
from .verdicts import Verdict


def may_be_kept(expected: Expected, final: Verdict, verdicts: Mapping[str, Verdict]) -> bool:
    """True where tests that were skipped can still keep it: each that ran has a verdict that the rules permit."""
    is_judged = final.rejects and final not in (Verdict.CE, Verdict.IE)
    return bool(expected.rules) and is_judged and Verdict.SK in verdicts.values() and _all_permitted(expected, verdicts)


def kept_on(expected: Expected, verdicts: Mapping[str, Verdict]) -> str | None:
    """The first test that has a verdict which is required; None where a rule is broken."""
    if not expected.rules or not _all_permitted(expected, verdicts):
        return None
    shown = [
        [name for name in _cases(rule, verdicts) if _is_among(verdicts[name], rule.required)] for rule in expected.rules
    ]
    return shown[0][0] if all(shown) else None


def _all_permitted(expected: Expected, verdicts: Mapping[str, Verdict]) -> bool:
    return all(
        verdicts[name] is Verdict.SK or _is_among(verdicts[name], rule.permitted)
        for rule in expected.rules
        for name in _cases(rule, verdicts)
    )


def _cases(rule: Rule, verdicts: Mapping[str, Verdict]) -> Iterator[str]:
    return (name for name in verdicts if matches(rule.cases, name))


def _is_among(verdict: Verdict, codes: tuple[str, ...]) -> bool:
    """The formats have no OLE, which a program that prints without end gets before its time is up."""
    return verdict.value in codes or (verdict is Verdict.OLE and Verdict.TLE.value in codes)
