"""What a token allows of memory and wall time: what nobody asked for is lowered to it, what was asked for is refused.

It holds for every program of its client: those of POST /execute and POST /grade, checkers and interactors too, and what
a package brings. A stored problem gives the same verdict to everybody: it is refused where a submission may need more.
"""

import dataclasses

from daemon.grading.problems import Bounds
from daemon.sandbox.model import Limits

from .errors import ApiProblem
from .tokens import Token

MB = 1 << 20


def within(token: Token | None, limits: Limits) -> Limits:
    """No more memory and wall time than the token allows."""
    if token is None or (token.memory_mb_max is None and token.timeout_s_max is None):
        return limits
    memory_bytes = (token.memory_mb_max or limits.memory_bytes // MB) * MB
    wall_ns = limits.wall_ns if token.timeout_s_max is None else max(1, int(token.timeout_s_max * 1e9))
    return dataclasses.replace(
        limits, memory_bytes=min(limits.memory_bytes, memory_bytes), wall_ns=min(limits.wall_ns, wall_ns)
    )


def bounds_within(token: Token | None, bounds: Bounds) -> Bounds:
    """Of what a package brings: its submissions and what judges them."""
    return dataclasses.replace(
        bounds, maximum=within(token, bounds.maximum), judging=within(token, bounds.judging)
    )  # fmt: skip


def check(token: Token | None, limits: Limits) -> None:
    """Raises ApiProblem 403 where a stored problem gives a run more than the token allows."""
    allowed = within(token, limits)
    if allowed != limits:
        detail = f"A run of this problem may have {_told(limits)}; your token allows {_told(allowed)}"
        raise ApiProblem(403, "above_token", detail)


def _told(limits: Limits) -> str:
    return f"{limits.memory_bytes // MB} MB of memory and {limits.wall_ns / 1e9:g} s of wall time"
