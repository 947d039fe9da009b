"""The time limit of a problem, and how it follows from example submissions where the package does not say it."""

import dataclasses
import enum
from fractions import Fraction

from .problem import Timing

DEFAULT_S = 1.0


class LimitSource(enum.StrEnum):
    """`computed`: from the accepted submissions, on this host. `default`: none of them could be run here."""

    PACKAGE = "package"
    COMPUTED = "computed"
    DEFAULT = "default"


@dataclasses.dataclass(frozen=True, slots=True)
class TimeLimit:
    """Of each test, in seconds of CPU time, and where it comes from."""

    seconds: float
    source: LimitSource


LONGEST_S = 10**9  # a longer one is as good as none, and may be beyond what a float holds


def from_slowest(timing: Timing, slowest_accepted_s: float) -> float:
    """The limit in seconds: the least multiple of the resolution, at least one, that is `ac_to_time_limit` times
    the slowest accepted submission's time (2025-09, "Problem timing"; legacy, "Limits", as problemtools does it).

    It is computed in decimals, so that 3 times 0.1 is 0.3.
    """
    resolution = _decimal(timing.resolution_s)
    least = _decimal(slowest_accepted_s) * _decimal(timing.ac_to_time_limit)
    return float(min(Fraction(LONGEST_S), max(1, -(-least // resolution)) * resolution))


def _decimal(number: float) -> Fraction:
    return Fraction(repr(number))
