"""The header traceparent is read as W3C Trace Context says, and ignored where it is not valid."""

import pytest

from daemon.api.trace import Trace, of_header

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"  # the specification's own example


@pytest.mark.parametrize(("flags", "sampled"), [("01", True), ("00", False), ("03", True), ("fe", False)])
def test_its_ids_and_the_sampled_flag_are_read(flags: str, sampled: bool) -> None:
    assert of_header(f"00-{TRACE}-{SPAN}-{flags}") == Trace(TRACE, SPAN, sampled)


@pytest.mark.parametrize("rest", ["", "-", "-more-of-it"])
def test_of_a_later_version_the_known_part_is_read(rest: str) -> None:
    assert of_header(f"cc-{TRACE}-{SPAN}-01{rest}") == Trace(TRACE, SPAN, True)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "garbage",
        f"00-{TRACE}-{SPAN}-01-more",  # version 00 has four fields
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"cc-{TRACE}-{SPAN}-01more",
    ],
)
def test_what_is_not_valid_is_ignored(text: str | None) -> None:
    assert of_header(text) is None
