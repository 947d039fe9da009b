"""The time limit that follows from the slowest accepted submission."""

import pytest

from daemon.grading.packages.problem import Timing
from daemon.grading.packages.time_limit import from_slowest


@pytest.mark.parametrize(
    ("slowest", "factor", "resolution", "limit"),
    [
        (0.0, 2, 1, 1), (0.4, 2, 1, 1), (0.5, 2, 1, 1), (0.51, 2, 1, 2), (0.7, 5, 1, 4), (0.1, 3, 0.1, 0.3),
        (0.35, 2, 0.1, 0.7), (1.0, 1.5, 0.25, 1.5), (1.01, 1.5, 0.25, 1.75), (2.0, 1e308, 1, 1e9),
    ],
)  # fmt: skip
def test_the_limit_is_the_next_multiple(slowest: float, factor: float, resolution: float, limit: float) -> None:
    assert from_slowest(Timing(None, None, factor, 1.5, resolution), slowest) == limit
