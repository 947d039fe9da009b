"""The spread of a program's CPU time under one condition, and whether it is small enough for fair verdicts."""

import dataclasses

from .measure import quantile

ALONE = "alone"
BARE = "bare command"  # without any sandbox, in turn with ALONE: what the machine itself spreads
LONG_MS = 100.0  # from here on the spread is judged as a ratio, below in milliseconds
RATIO_MAX, SHORT_MS_MAX = 1.10, 10.0


@dataclasses.dataclass(frozen=True, slots=True)
class Spread:
    """CPU milliseconds of one program's runs: graded, alone or beside neighbours of one kind, or the bare command."""

    language: str
    program: str
    beside: str
    cpu_ms: tuple[float, ...]

    def quantile_ms(self, share: float) -> float:
        """`share` is from 0 to 1; by nearest rank."""
        return quantile(sorted(self.cpu_ms), share)

    @property
    def ratio(self) -> float:
        """p95 / p50."""
        return self.quantile_ms(0.95) / self.quantile_ms(0.5)

    @property
    def target(self) -> str:
        """What is demanded, in words."""
        return f"p95/p50 <= {RATIO_MAX:.2f}" if self._is_long else f"p95-p50 <= {SHORT_MS_MAX:g} ms"

    @property
    def is_ours(self) -> bool:
        """False of the bare command, of which nothing is demanded."""
        return self.beside != BARE

    @property
    def is_fair(self) -> bool:
        """Whether the target is met. The bare command's spread is the machine's, and no fault of ours."""
        if self._is_long:
            return self.ratio <= RATIO_MAX
        return self.quantile_ms(0.95) - self.quantile_ms(0.5) <= SHORT_MS_MAX

    @property
    def _is_long(self) -> bool:
        return self.quantile_ms(0.5) >= LONG_MS
