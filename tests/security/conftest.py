"""Every security test is followed by posture and canary."""

import pytest


@pytest.fixture(autouse=True)
def _leaves_nothing(leaves_nothing: None) -> None:
    return leaves_nothing
