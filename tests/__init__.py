"""The project's tests; what this package's modules demand is told in full when it is not met, as in a test's file."""

import pytest

pytest.register_assert_rewrite("tests.posture", "tests.server")
