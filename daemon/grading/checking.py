"""Checking a program's output: what hears it while it comes, and says afterwards whether it is accepted.

A comparison without a program of its own is done while the output comes, as long as that is quick. A checker of one's
own is run in a jail on the whole output, which is kept in a memfd until then and never enters this process.
"""

import contextlib
import dataclasses
import math
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from daemon.judge.executor import Built, Executor
from daemon.judge.files import File, pack
from daemon.judge.submission import Submission
from daemon.sandbox.descriptors import close_all, memfd, seal, write_all
from daemon.sandbox.model import KilledBy
from daemon.sandbox.order import Finished, Order
from daemon.sandbox.threads import to_the_end
from daemon.toolchain.plan import FEEDBACK
from daemon.toolchain.schema import JUDGE

from . import task
from .compare import Exact, Lines
from .feedback import JUDGE_MESSAGE, MESSAGE_BYTES, Feedback, NextPass
from .tokens import TokenOptions, Tokens

JUDGE_OUTPUT_BYTES = 64 << 10  # that are kept
JUDGE_SPARE_BYTES = 64 << 20  # more may be said, to nobody
SCORE_BYTES = 100
COMPARING_S = 0.05  # of a program's wall time that comparing may take
KEPT_PIECE_BYTES = 1 << 18  # compared at once in a thread; a grading that is cancelled waits for that
ICPC_ACCEPTED, ICPC_REJECTED = 42, 43  # "Output validators" of the ICPC problem package format
TESTLIB_ACCEPTED, TESTLIB_REJECTED = (0,), (1, 2, 4, 8)  # testlib.h: ok; wrong answer, presentation, dirt, end of file
TESTLIB_FAIL, TESTLIB_POINTS = 3, 7
TESTLIB_NOTE = "See file to check exit message"  # its last word on stderr
ICPC_ARGUMENTS = ("input", "answer", FEEDBACK)
TESTLIB_ARGUMENTS = ("input", "output", "answer", FEEDBACK + JUDGE_MESSAGE)
JUDGE_FILES = ("input", "output", "answer", FEEDBACK.rstrip("/"))  # beside a checker, above its own
SCORE = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


class CheckerFailed(Exception):
    """The checker neither accepted nor rejected: nobody can say what the output is worth. The text is for judges."""


class CheckerHangs(CheckerFailed):
    """It took all of its time: asked again, it would do so again."""


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What was said of one output. `score` and `multiplier` None: none was given. `next_pass`: the submission shall be
    run once more (multi-pass); the caller closes it."""

    accepted: bool
    message: str = ""
    score: float | None = None
    multiplier: float | None = None
    next_pass: NextPass | None = None


class Check(Protocol):
    """Of one run."""

    def hear(self, stream: str, data: bytes) -> None:
        """The output while it comes: `stdout` or `stderr`."""

    async def answer(self) -> Answer:
        """After a run that ended well. Raises CheckerFailed, SandboxUnavailable, OSError."""


class _At:
    """Reads a file from its beginning at an offset of its own, so that many may read it at once."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._offset = descriptor, 0

    def read(self, size: int, /) -> bytes:
        data = os.pread(self._descriptor, size, self._offset)
        self._offset += len(data)
        return data


class Comparison:
    """By compare.py and tokens.py, until `close`.

    The output is compared as it comes while that costs next to nothing. A program must not wait for us on its own
    clock: once comparing has taken `patience_s` seconds, what comes is kept, and compared when the program has ended.
    """

    def __init__(
        self, checker: task.Plain | TokenOptions, answer: int, patience_s: float = COMPARING_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._left_s, self._clock = patience_s, clock
        self._kept: int | None = None  # a memfd
        expected = _At(answer)
        match checker:
            case task.Plain.EXACT:
                self._comparer: Exact | Lines | Tokens = Exact(expected)
            case task.Plain.LINES:
                self._comparer = Lines(expected)
            case TokenOptions():
                self._comparer = Tokens(expected, checker)

    def hear(self, stream: str, data: bytes) -> None:
        """Compare what came with what is expected there, or keep it. Raises OSError."""
        if stream != "stdout" or self._comparer.rejected:
            return
        if self._left_s > 0:
            began_s = self._clock()
            self._comparer.feed(data)
            self._left_s -= self._clock() - began_s
            return
        if self._kept is None:
            self._kept = memfd("output", b"")
        write_all(self._kept, data)

    async def answer(self) -> Answer:
        """At the end of the output. Raises OSError."""
        if self._kept is not None:
            kept = _At(self._kept)
            while not self._comparer.rejected and (piece := kept.read(KEPT_PIECE_BYTES)):
                await to_the_end(self._comparer.feed, piece)
        found = self._comparer.end()
        return Answer(found.accepted, found.message)

    def close(self) -> None:
        """What was kept is gone."""
        if self._kept is not None:
            os.close(self._kept)
            self._kept = None


class Judged:
    """By programs, each in a jail of its own, which get input, answer and output. `built` are those programs."""

    def __init__(
        self, executor: Executor, checkers: tuple[task.Custom, ...], built: tuple[Built, ...], data: task.Data,
        output: int,
    ) -> None:  # fmt: skip
        self._executor, self._checkers, self._built = executor, checkers, built
        self._data, self._output = data, output

    def hear(self, stream: str, data: bytes) -> None:
        """Keep it. Raises OSError."""
        if stream == "stdout":
            write_all(self._output, data)

    async def answer(self) -> Answer:
        """Run each checker on what was kept. The first that rejects has the last word; the last score counts."""
        score = multiplier = None
        seal(self._output)
        for checker, built in zip(self._checkers, self._built, strict=True):
            answer = await read_answer(checker.protocol, await self._run(checker, built))
            score = score if answer.score is None else answer.score
            multiplier = multiplier if answer.multiplier is None else answer.multiplier
            if not answer.accepted or answer.next_pass is not None:
                break
        return dataclasses.replace(answer, score=score, multiplier=multiplier)

    async def _run(self, checker: task.Custom, built: Built) -> Finished:
        is_icpc = checker.protocol is task.Protocol.ICPC
        files = await judge_files(built, self._data, () if is_icpc else (File("output", self._output),))
        given = self._output if is_icpc else None
        try:
            return await self._executor.run(judge_order(checker.submission, built, files, arguments_of(checker), given))
        finally:
            os.close(files)


def arguments_of(checker: task.Custom) -> tuple[str, ...]:
    """What a checker or an interactor is started with: the names of its files, then its flags."""
    return (*(ICPC_ARGUMENTS if checker.protocol is task.Protocol.ICPC else TESTLIB_ARGUMENTS), *checker.flags)


async def judge_files(built: Built, data: task.Data, more: tuple[File, ...] = ()) -> int:
    """All that lies beside a checker or an interactor, packed; the caller closes it. Raises OSError.

    A thread copies it: a test may have tens of megabytes.
    """
    given = (File("input", data.input), File("answer", data.answer), *more)
    if data.feedback is None:
        return await to_the_end(pack, (*given, File(FEEDBACK + JUDGE_MESSAGE, b"")), built.files, undo=os.close)
    return await to_the_end(pack, given, built.files, data.feedback, undo=os.close)


async def read_answer(protocol: task.Protocol, finished: Finished, who: str = "the checker") -> Answer:
    """What a checker's or interactor's end says. Closes what it left. Raises CheckerFailed, OSError."""
    try:
        feedback = Feedback(finished.left[0]) if 0 in finished.left else None
        message = "" if feedback is None else feedback.text(JUDGE_MESSAGE)
        is_icpc = protocol is task.Protocol.ICPC
        answer = _icpc_answer(finished, message, feedback) if is_icpc else _testlib_answer(finished, message)
        if answer is None:
            kind = CheckerHangs if finished.outcome.killed_by is KilledBy.WALL else CheckerFailed
            raise kind(failure(finished, exit_code(finished), message, who))
        if feedback is None:
            raise CheckerFailed(f"{who} left no feedback that can be kept: at most 1000 files of 64 MB together")
        if is_icpc and feedback.asks_for_a_pass:
            if not answer.accepted:
                raise CheckerFailed(f"{who} rejects, and asks for another pass")
            next_pass = await to_the_end(feedback.next_pass, undo=NextPass.close)
            return dataclasses.replace(answer, next_pass=next_pass)
        return answer
    finally:
        close_all(finished.left.values())


def judge_order(
    judge: Submission, built: Built, files: int | None, args: tuple[str, ...], given: int | None, graded: bool = True
) -> Order:
    """The run of a checker, an interactor or a grader of groups, whose limits are its own."""
    toolchain = judge.toolchain
    return Order(
        toolchain=toolchain.id, step=toolchain.steps[-1].id + JUDGE, limits=judge.limits,
        output_bytes=JUDGE_OUTPUT_BYTES, spare_bytes=JUDGE_SPARE_BYTES, source=built.source,
        artifact=built.artifact, files=files, input=given, args=args, graded=graded,
    )  # fmt: skip


@contextlib.contextmanager
def opened(executor: Executor, checker: task.Checker, built: tuple[Built, ...], data: task.Data) -> Iterator[Check]:
    """A check for one run of a test. `built` are the checker's own programs, where it has any. Raises OSError."""
    if isinstance(checker, task.Plain | TokenOptions):
        comparison = Comparison(checker, data.answer)
        try:
            yield comparison
        finally:
            comparison.close()
        return
    output = memfd("output", b"")
    try:
        yield Judged(executor, task.programs_of(checker), built, data, output)
    finally:
        os.close(output)


def _icpc_answer(finished: Finished, message: str, feedback: Feedback | None) -> Answer | None:
    """42 accepts and 43 rejects ("Output validators"); anything else is no answer."""
    code = exit_code(finished)
    if code not in (ICPC_ACCEPTED, ICPC_REJECTED):
        return None
    score = multiplier = None
    if feedback is not None:
        score, multiplier = _number(feedback, "score.txt"), _number(feedback, "score_multiplier.txt")
    return Answer(code == ICPC_ACCEPTED, message, score, multiplier)


def _testlib_answer(finished: Finished, message: str) -> Answer | None:
    """What testlib.h's quitf and quitp exit with. Their message is in the file that they were given; from others, which
    speak like it, it may come on stderr.

    The code of `_pc(n)`, partially correct, is n. Where testlib itself ended and its code is no other's it rejects,
    because nothing says how much n is worth. Points accept, but for none. Raises CheckerFailed for points without a
    number.
    """
    said, code = _text(finished.stderr), exit_code(finished)
    message = message or said
    if code == TESTLIB_POINTS:
        first, _, rest = message.removeprefix("points ").partition(" ")
        score = number(first)
        if score is None:
            raise CheckerFailed(f"the checker gave points that are no finite number: {message[:SCORE_BYTES]!a}")
        return Answer(score > 0, rest.strip(), score)
    if code in (*TESTLIB_ACCEPTED, *TESTLIB_REJECTED):
        return Answer(code in TESTLIB_ACCEPTED, message)
    is_partly = code not in (None, TESTLIB_FAIL) and said.endswith(TESTLIB_NOTE)
    return Answer(False, f"partially correct ({code}): {message}") if is_partly else None


def exit_code(finished: Finished) -> int | None:
    """Of a judge that ended by itself, else None."""
    status = finished.outcome.wait_status
    if finished.outcome.killed_by is not None or finished.truncated or status is None or not os.WIFEXITED(status):
        return None
    return os.WEXITSTATUS(status)


def failure(finished: Finished, code: int | None, message: str, who: str = "the checker") -> str:
    """What a judge did instead of giving an answer."""
    if code is not None:
        how = f"ended with code {code}"
    elif finished.outcome.killed_by is not None:
        how = f"met its {finished.outcome.killed_by} limit"
    elif finished.truncated:
        how = "printed too much"
    else:
        number = os.WTERMSIG(finished.outcome.wait_status or 0)
        how = f"was killed by {signal.Signals(number).name if number in signal.valid_signals() else number}"
    said = message or _text(finished.stderr) or _text(finished.stdout)
    return f"{who} {how}" + (f": {said}" if said else "")


def _text(data: bytes) -> str:
    return data[:MESSAGE_BYTES].decode("utf-8", "replace").strip()


def _number(feedback: Feedback, name: str) -> float | None:
    """One finite number. Raises CheckerFailed for anything else."""
    text = feedback.text(name)
    if not text:
        return None
    if len(text) > SCORE_BYTES or (found := number(text)) is None:
        raise CheckerFailed(f"the checker's {name} is no finite number: {text[:SCORE_BYTES]!a}")
    return found


def number(text: str) -> float | None:
    """The finite number that the text is, or None."""
    found = float(text) if SCORE.fullmatch(text) is not None else math.inf
    return found if math.isfinite(found) else None
