"""Puts the constants of problem.yaml in the place of {{name}} and {{name.variant}} (2025-09, "Constants").

What a constant is replaced by is not looked through again, so that constants which name each other make nothing large.
"""

import re
from collections.abc import Sequence

from .refusal import PackageRefused

PLACE = re.compile(rb"\{\{([^{}]+)\}\}")


def put(file: str, content: bytes, constants: Sequence[tuple[str, str]], bytes_max: int) -> bytes:
    """The content of a file with pairs of a name and its value put in.

    Raises PackageRefused where that has more than `bytes_max`, before it is made.
    """
    if not constants or b"{{" not in content:
        return content
    values = {name.encode(): value.encode() for name, value in constants}
    parts: list[bytes] = []
    start, size = 0, len(content)
    for place in PLACE.finditer(content):
        value = values.get(place[1])
        if value is not None:
            parts += (content[start : place.start()], value)
            start = place.end()
            size += len(value) - len(place[0])
    if size > bytes_max:
        raise PackageRefused(f"{file}: is too large with the constants of problem.yaml put in")
    return b"".join((*parts, content[start:]))
