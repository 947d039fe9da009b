"""Examples of every operation, for the document of the API: examples.json, in the order in which they can be sent.

A test sends each to a server and compares the answers. Times, memory, versions and ids are those of the day on which
the answers were written down (`python -m tests.functional.test_api_examples` writes them anew).
"""

import dataclasses
import json
import pathlib
import shlex
from typing import Any

from . import errors, stream
from .operations import OPERATIONS, Operation

FILE = pathlib.Path(__file__).with_name("examples.json")
PROBLEM = "sum"  # the id that the examples of /problems use
SCRIPT = "page.js"  # the file that the example of /playground asks for
ADDRESS = "$CELLBLOCK"  # in commands, of the server


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """`request` is the body as JSON, `package` the files of a zip instead. `answer` is JSON, the text of an event
    stream, or None where it is shown nowhere."""

    operation: str
    name: str
    summary: str
    request: dict[str, Any] | None = None
    package: dict[str, str] | None = None
    streams: bool = False
    status: int = 200
    answer: Any = None

    @property
    def of(self) -> Operation:
        """The operation itself."""
        return next(one for one in OPERATIONS if one.id == self.operation)

    @property
    def path(self) -> str:
        """Where it is sent."""
        return self.of.path.replace("{id}", PROBLEM).replace("{file}", SCRIPT)

    @property
    def media_type(self) -> str | None:
        """Of the answer."""
        if self.status >= 400:
            return errors.CONTENT_TYPE
        if self.streams:
            return stream.CONTENT_TYPE
        return next(answer.media_type for answer in self.of.answers if answer.status == self.status)

    def command(self) -> str:
        """The request as a command line of curl."""
        words = ["curl -s"]
        if self.streams:
            words.append(f"-N -H 'Accept: {stream.CONTENT_TYPE}'")
        if self.package is not None:
            words.append(f"-T {PROBLEM}.zip -H 'Content-Type: application/zip'")
        elif self.of.method == "DELETE":
            words.append("-X DELETE")
        words.append(ADDRESS + self.path)
        if self.request is not None:
            body = json.dumps(self.request, indent=2, ensure_ascii=False)
            words.append(f"-H 'Content-Type: application/json' -d {shlex.quote(body)}")
        return " ".join(words)


def load() -> tuple[Example, ...]:
    """All of them."""
    return tuple(Example(**entry) for entry in json.loads(FILE.read_text(encoding="utf-8")))
