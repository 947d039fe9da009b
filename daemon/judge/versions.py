"""Which version each toolchain has: the text that people read, and the identity that keys the artefact cache."""

import hashlib
from collections.abc import Mapping


class Versions:
    """`digests` by toolchain id are of all that is known before anything runs (toolchain/identity.py).

    What a toolchain's own version command says is noted once it has run in a jail (Executor.learn_version).
    """

    def __init__(self, digests: Mapping[str, bytes]) -> None:
        self._digests = digests
        self._texts: dict[str, str] = {}

    def note(self, toolchain_id: str, text: str) -> None:
        """`text` is one line, such as `rustc 1.85.1`."""
        self._texts[toolchain_id] = text

    def text(self, toolchain_id: str) -> str | None:
        """What the version command said, None until it has run."""
        return self._texts.get(toolchain_id)

    def identity(self, toolchain_id: str) -> bytes | None:
        """Equal only where file, helpers, version files and the command's answer are; None until all are known."""
        digest, text = self._digests.get(toolchain_id), self._texts.get(toolchain_id)
        if digest is None or text is None:
            return None
        return hashlib.sha256(digest + text.encode()).digest()
