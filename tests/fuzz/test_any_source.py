"""Any source is read by the lexers of all toolchains: a finding or none, no exception, within the time of a request."""

import asyncio
import pathlib
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from daemon.toolchain import registry
from daemon.toolchain.schema import Toolchain
from daemon.validation.constructs import TURN_S, Constructs, rules_of
from daemon.validation.matching import Finding, search
from tests.fuzz.values import TEXT

ROOT = pathlib.Path(__file__).parents[2]
TOOLCHAINS = [
    one for one in registry.load([ROOT / "toolchains", ROOT / "toolchains/languages"]) if one.lexer is not None
]
DEADLINE_S = 0.2
SLACK_S = 1.0  # a machine that others use too
CODE_BYTES = 64 << 10
WORDS = sorted(
    {
        word
        for one in TOOLCHAINS
        for rule in one.forbidden
        for text in (*rule.tokens, *rule.beside)
        for word in text.split()
    }
)
PIECES = st.sampled_from(
    [*WORDS, "(", ")", "'", '"', "`", '"""', "/*", "*/", "//", "#", "\\", "\n", ";", "${", "}", "r#", 'R"x(', " ", "@"]
)
SOURCES = st.lists(PIECES | TEXT, max_size=40).map("".join) | st.lists(PIECES, max_size=40).map(" ".join)


@pytest.mark.threat("U5")
@given(st.sampled_from(TOOLCHAINS), SOURCES)
def test_any_source_has_a_finding_on_one_of_its_lines_or_none(toolchain: Toolchain, code: str) -> None:
    assert toolchain.lexer is not None
    found = search(toolchain.lexer, code, rules_of(toolchain.forbidden))
    if found is not None:
        assert 1 <= found.line <= code.count("\n") + code.count("\r") + 1
        assert any(found.found in rule.tokens and found.reason == rule.reason for rule in toolchain.forbidden)


@pytest.mark.threat("U5")
@pytest.mark.slow
def test_any_source_that_repeats_as_long_as_one_may_be_is_found_in_or_allowed_in_time() -> None:
    """By the real worker, which is replaced where it takes too long."""
    with asyncio.Runner() as runner:
        constructs = runner.run(Constructs(TOOLCHAINS, DEADLINE_S).__aenter__())

        @given(
            st.sampled_from(TOOLCHAINS),
            st.lists(PIECES, min_size=1, max_size=4).map("".join),
            st.lists(PIECES, max_size=6).map("".join),
        )
        @example(TOOLCHAINS[0], "[", "import socket; socket.create_connection((")
        def found_in_time(toolchain: Toolchain, piece: str, start: str) -> None:
            code = (start + piece * CODE_BYTES)[:CODE_BYTES]
            began_s = time.monotonic()
            found = runner.run(constructs.find(toolchain, code))
            assert time.monotonic() - began_s < TURN_S + DEADLINE_S + SLACK_S
            assert found is None or isinstance(found, Finding)

        try:
            found_in_time()
        finally:
            runner.run(constructs.__aexit__())
