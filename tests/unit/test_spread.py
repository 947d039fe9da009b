"""`cellblock bench --fairness` judges a spread of CPU times by what the program takes."""

import pytest

from daemon.bench.spread import Spread


def spread(*cpu_ms: float) -> Spread:
    return Spread("perl", "work", "alone", cpu_ms)


@pytest.mark.parametrize(
    ("cpu_ms", "fair"),
    [
        ([100.0] * 18 + [110.0] * 2, True),
        ([100.0] * 18 + [110.2] * 2, False),
        ([500.0] * 18 + [549.0] * 2, True),  # 49 ms more, and still within a tenth
        ([500.0] * 19 + [900.0], False),  # of twenty runs the slowest is the 95th percentile
        ([500.0] * 38 + [510.0, 900.0], True),  # of forty it is not
        ([99.0] * 18 + [109.0] * 2, True),  # below 100 ms milliseconds count
        ([99.0] * 18 + [109.1] * 2, False),
        ([1.0] * 18 + [11.0] * 2, True),  # eleven times as much, but ten milliseconds
    ],
)
def test_long_programs_are_judged_by_the_ratio_and_short_ones_by_milliseconds(cpu_ms: list[float], fair: bool) -> None:
    assert spread(*cpu_ms).is_fair is fair


def test_the_target_is_told_in_words() -> None:
    assert spread(100.0).target == "p95/p50 <= 1.10"
    assert spread(99.9).target == "p95-p50 <= 10 ms"


def test_one_run_has_no_spread() -> None:
    assert (spread(7.0).ratio, spread(7.0).is_fair) == (1.0, True)
