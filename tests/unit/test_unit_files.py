"""What systemd does with a service that fails at once, by what the unit files say."""

import configparser
import pathlib

import pytest

SYSTEMD = pathlib.Path(__file__).parents[2] / "systemd"


def starts(unit: configparser.ConfigParser) -> int:
    """How many there are in the interval of the limit. The n-th restart waits first * (last / first) ** ((n - 1) / steps)
    as of systemd 254, and `last` after so many steps (src/core/service.c, service_restart_usec_next)."""
    first_ms = int(unit["Service"]["RestartSec"].removesuffix("ms"))
    last_ms = 1000 * int(unit["Service"]["RestartMaxDelaySec"].removesuffix("s"))
    steps = int(unit["Service"]["RestartSteps"])
    count, passed_ms = 0, 0.0
    while passed_ms < 1000 * int(unit["Unit"]["StartLimitIntervalSec"]):
        passed_ms += first_ms * (last_ms / first_ms) ** (min(count, steps) / steps)
        count += 1
    return count


@pytest.mark.parametrize("name", ["cellblock.service", "cellblock-keeper.service", "cellblock-mcp.service"])
def test_systemd_does_not_give_up_a_service_that_fails_at_once(name: str) -> None:
    """What it lacks (a disk, a network, memory) may come back in the night."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read_string((SYSTEMD / name).read_text())
    assert starts(unit) <= int(unit["Unit"]["StartLimitBurst"])
