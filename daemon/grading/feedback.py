"""What a checker or an interactor left in its feedback folder ("Reporting additional feedback" of the ICPC format)."""

import dataclasses
import os

from daemon.judge.files import PackedFile, packed_files
from daemon.sandbox.descriptors import memfd, sealed_copy, send_all
from daemon.toolchain.plan import FEEDBACK

JUDGE_MESSAGE, NEXT_PASS = "judgemessage.txt", "nextpass.in"
MESSAGE_BYTES = 2000  # of what a checker says, kept for judges


@dataclasses.dataclass(frozen=True, slots=True)
class NextPass:
    """Descriptors: what the submission is run on once more, and all else of the folder, packed (2025-09, "Multi-pass
    validation")."""

    input: int
    feedback: int

    def close(self) -> None:
        """Both."""
        os.close(self.input)
        os.close(self.feedback)


class Feedback:
    """A folder as jail.c packs it: at most 1000 files, 64 MB. The descriptor is lent. Raises OSError where it is
    packed badly."""

    def __init__(self, packed: int) -> None:
        self._packed = packed
        self._files = {file.name.removeprefix(FEEDBACK): file for file in packed_files(packed)}

    def text(self, name: str) -> str:
        """The first MESSAGE_BYTES bytes of a file; empty where it is not there. Raises OSError."""
        file = self._files.get(name)
        if file is None:
            return ""
        data = os.pread(self._packed, min(file.size, MESSAGE_BYTES), file.content)
        return data.decode("utf-8", "replace").strip()

    @property
    def asks_for_a_pass(self) -> bool:
        """True where there is a nextpass.in."""
        return NEXT_PASS in self._files

    def next_pass(self) -> NextPass:
        """Copies everything: it may take as long as 64 MB take. Raises OSError."""
        file = self._files[NEXT_PASS]
        following = sealed_copy(self._packed, file.content, file.size, "stdin")
        try:
            return NextPass(following, self._without(file))
        except OSError:
            os.close(following)
            raise

    def _without(self, left_out: PackedFile) -> int:
        kept = memfd("feedback", b"")
        try:
            for file in self._files.values():
                if file is not left_out:
                    send_all(kept, self._packed, file.end - file.start, file.start)
        except OSError:
            os.close(kept)
            raise
        return kept
