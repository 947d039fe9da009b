"""What Schemathesis cannot know by itself: what a zip is, and which rules no schema can say."""

import re

import schemathesis
from hypothesis import strategies
from schemathesis.openapi.checks import RejectedPositiveData

from tests import small_packages
from tests.small_packages import with_files, zip_bytes

# Without example submissions, which would be run to find a time limit.
TIMED = with_files(small_packages.LEGACY, {"problem.yaml": "name: Sum\nlimits:\n  time_limit: 1\n"})
PACKAGES = [zip_bytes(TIMED), zip_bytes(with_files(TIMED, {"data/secret/02.ans": "12\n"}))]

# Between fields, in bytes of UTF-8, or of a programming language: the descriptions say them, and other tests try them.
RULES = re.compile(
    r"files: .* (is there already|is a file)"
    r"|tests: two have the same id"
    r"|checker: the checker does not compile"
    r"|(args|flags): arguments have at most"
    r"|a name has 1 to 1024 bytes"
    r"|parts have at most 255 bytes",
    re.DOTALL,
)

MANY_TESTS = range(20, 1001)  # of one request: right, and slow

schemathesis.openapi.media_type("application/zip", strategies.sampled_from(PACKAGES))


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: schemathesis.Case) -> bool:
    """False for a request with more tests than there is time for."""
    tests = case.body.get("tests") if isinstance(case.body, dict) else None
    return not (isinstance(tests, list) and len(tests) in MANY_TESTS)


@schemathesis.hook
def filter_failure(
    context: schemathesis.HookContext,
    failure: Exception,
    case: schemathesis.Case,
    response: schemathesis.Response,
) -> bool:
    """False where a request that the schema allows was refused by one of RULES."""
    return not (isinstance(failure, RejectedPositiveData) and RULES.search(response.json()["detail"]))
