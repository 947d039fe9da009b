"""Messages between our processes: what is said is heard as it was said, and any other bytes are a BadMessage."""

import json
import os
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.sandbox import descriptors as fds
from daemon.sandbox import messages, wire
from daemon.sandbox.messages import BadMessage
from daemon.sandbox.model import KilledBy, Limits
from daemon.sandbox.plan import Warm
from tests.fuzz.values import JSON

VOCABULARIES = (messages.TO_KEEPER, messages.TO_HTTP, messages.TO_WARDEN, messages.FROM_WARDEN)
A_VOCABULARY = st.sampled_from(VOCABULARIES)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)
NO_NUL = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
REASONS = TEXTS | st.just("é" * messages.REASON_CHARACTERS)
IDS, STATUSES = st.integers(0, (1 << 53) - 1), st.integers(0, 0xFFFF)
COUNTS = st.integers(0, (1 << 63) - 1)
MAPS = st.dictionaries(TEXTS, TEXTS, max_size=3)
ARGS = st.lists(NO_NUL, max_size=4).map(tuple)
POSITIVE = st.integers(1, (1 << 63) - 1)
LEAVES = st.lists(st.sampled_from(["a", "a/b", "é", "."]), max_size=messages.LEAVES_MAX).map(tuple)
LIMITS = st.builds(Limits, POSITIVE, POSITIVE, POSITIVE, st.none() | POSITIVE, st.none() | POSITIVE)
RISING = st.sets(st.integers(0, 3)).map(lambda found: tuple(sorted(found)))
SAID: dict[type[messages.Message], st.SearchStrategy[Any]] = {
    messages.Run: st.builds(messages.Run, IDS, TEXTS, TEXTS, LIMITS, ARGS, *[st.booleans()] * 4, st.integers(1, 8), LEAVES),
    messages.Begin: st.builds(messages.Begin, IDS),
    messages.Kill: st.builds(messages.Kill, IDS, st.sampled_from([KilledBy.OUTPUT, KilledBy.CLIENT])),
    messages.Signal: st.builds(messages.Signal, IDS, st.integers(1, messages.SIGNAL_MAX)),
    messages.Hello: st.builds(messages.Hello, TEXTS, RISING, st.booleans()),
    messages.Stats: st.builds(messages.Stats, COUNTS, MAPS, MAPS, COUNTS, MAPS, MAPS, MAPS),
    messages.Started: st.builds(messages.Started, IDS),
    messages.Refused: st.builds(messages.Refused, IDS, REASONS, REASONS),
    messages.Ended: st.builds(
        messages.Ended, IDS, st.none() | STATUSES, st.none() | st.sampled_from(KilledBy), COUNTS, st.none() | COUNTS,
        st.none() | COUNTS, RISING,
    ),
    messages.Setup: st.builds(messages.Setup),
    messages.Make: st.builds(messages.Make, IDS, TEXTS, st.sampled_from(Warm), st.integers(1, 0xFFFF), st.integers(0, messages.NETWORKS_MAX), ARGS),
    messages.Ready: st.builds(messages.Ready),
    messages.Broken: st.builds(messages.Broken, REASONS, REASONS),
    messages.Made: st.builds(messages.Made, IDS),
    messages.NotMade: st.builds(messages.NotMade, IDS, REASONS),
    messages.ForkEnded: st.builds(messages.ForkEnded, IDS, STATUSES),
}  # fmt: skip
A_MESSAGE = st.one_of(*SAID.values())
DATA = (
    st.binary(max_size=200)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.builds(lambda kind, more: json.dumps({**more, "type": kind}).encode(), st.sampled_from([one.TYPE for one in SAID]),
                st.dictionaries(st.sampled_from(["run", "jail", "limits", "why", "reason", "stage"]), JSON, max_size=4))
    | st.builds(lambda message, at, byte: message.encode()[:at] + byte + message.encode()[at + 1 :], A_MESSAGE,
                st.integers(0, 300), st.binary(min_size=1, max_size=1))
)  # fmt: skip


def of(message: messages.Message) -> dict[str, type[messages.Message]]:
    return next(one for one in VOCABULARIES if type(message) in one.values())


def test_every_message_is_tried() -> None:
    assert set(SAID) == {kind for one in VOCABULARIES for kind in one.values()}


@given(A_MESSAGE)
def test_what_is_said_is_heard_as_it_was_said(message: messages.Message) -> None:
    for count in message.DESCRIPTORS:
        assert messages.decode(message.encode(), count, of(message)) == message


@pytest.mark.threat("D1", "U9")
@given(DATA, st.integers(0, 10) | st.none(), A_VOCABULARY)
def test_any_bytes_are_one_of_the_vocabulary_or_a_bad_message(
    data: bytes, descriptors: int | None, vocabulary: dict[str, type[messages.Message]]
) -> None:
    """What was taken keeps the rules of its fields: said again, it is taken again, and is the same."""
    try:
        message = messages.decode(data, descriptors, vocabulary)
    except BadMessage as error:
        assert str(error).isascii() and len(str(error)) <= 300
        return
    assert type(message) in vocabulary.values()
    assert messages.decode(message.encode(), descriptors, vocabulary) == message


@pytest.mark.threat("D1")
@given(
    st.binary(max_size=messages.REPLY_HEAD.size + messages.REPLY_TEXT_BYTES + 2)
    | st.builds(
        lambda kind, value, when, mask, text: messages.REPLY_HEAD.pack(kind, value, when, mask) + text,
        st.integers(0, 5), st.integers(0, 1 << 17), st.integers(0, (1 << 64) - 1), st.integers(0, 40), st.binary(max_size=240),
    ),
    st.integers(0, 5),
)  # fmt: skip
def test_any_bytes_on_a_jails_channel_are_a_reply_or_a_bad_message(data: bytes, descriptors: int) -> None:
    """Whatever it is, the keeper can tell it to the HTTP process."""
    try:
        reply = messages.decode_reply(data, descriptors)
    except BadMessage as error:
        assert str(error).isascii()
        return
    match reply:
        case messages.Status(status, _, _, left):
            assert 0 <= status <= 0xFFFF and len(left) == descriptors <= messages.LEAVES_MAX
            told: messages.Message = messages.Ended(1, status, None, 1, None, None, left)
        case messages.Failed(stage, reason):
            short = messages.REASON_CHARACTERS
            assert (stage + reason).isascii() and (stage + reason).isprintable()
            told = messages.Refused(1, stage[:short], reason[:short])
        case messages.Parked():
            told = messages.Started(1)
    assert messages.decode(told.encode(), descriptors, messages.TO_HTTP) == told


@given(st.binary(max_size=20), st.booleans())
def test_any_bytes_of_a_helper_are_an_answer_or_a_bad_message(data: bytes, has_descriptor: bool) -> None:
    try:
        answer = messages.decode_answer(data, int(has_descriptor))
    except BadMessage:
        return
    assert (answer.result > 0) == has_descriptor


@given(
    st.booleans(), st.booleans(), st.booleans(), ARGS, st.integers(0, (1 << 64) - 1), st.booleans(), st.booleans(), ARGS
)  # fmt: skip
def test_go_says_how_many_strings_follow_and_which_descriptors(
    source: bool, artifact: bool, files: bool, strings: tuple[str, ...], stack_bytes: int, joins: bool, has_input: bool,
    leaves: tuple[str, ...],
) -> None:  # fmt: skip
    """As jail.c reads it (struct go_head)."""
    data = messages.Go(source, artifact, files, strings, stack_bytes, joins, has_input, leaves).encode()
    flags, count, size, left, stack = messages.GO_HEAD.unpack_from(data)
    blob = data[messages.GO_HEAD.size :]
    assert (count, size, left, stack) == (len(strings) + len(leaves), len(blob), len(leaves), stack_bytes)
    assert [text.decode() for text in blob.split(b"\0")[:-1]] == [*strings, *leaves]
    assert flags == sum(1 << number for number, one in enumerate((source, artifact, files, joins, has_input)) if one)


@given(st.lists(st.tuples(st.binary(max_size=100), st.integers(0, 12)), max_size=4))
def test_any_datagram_is_received_whole_or_refused_and_no_descriptor_is_lost(sent: list[tuple[bytes, int]]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with one, other:
        other.setblocking(False)
        for data, count in sent:
            wire.send(one, data, [0] * count)
            try:
                received = wire.receive(other)
            except BadMessage:
                assert count > wire.MAX_DESCRIPTORS
                continue
            assert (data or count) or received is None
            if received is not None:
                assert (received[0], len(received[1])) == (data, count)
                fds.close_all(received[1])
    assert len(os.listdir("/proc/self/fd")) == before
