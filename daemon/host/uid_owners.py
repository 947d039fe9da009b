"""Who on this host has uids or gids where jails take theirs: with a jail's uid one could signal its programs."""

import pathlib
from collections.abc import Iterator

from .instance import LAST_UID

ETC = pathlib.Path("/etc")


def found(first_uid: int, etc: pathlib.Path = ETC) -> list[str]:
    """Each file and name below `etc` with an id from `first_uid` to the last of any jail, such as "subuid: alice".

    By passwd(5), group(5), subuid(5) and subgid(5); a file or a line that cannot be read has none.
    """
    return [
        f"{file}: {name}" for file, name, first, count in _all(etc) if first <= LAST_UID and first + count > first_uid
    ]


def _all(etc: pathlib.Path) -> Iterator[tuple[str, str, int, int]]:
    """File, name, first id and how many."""
    for file, of_first, of_count in (("passwd", 2, None), ("group", 2, None), ("subuid", 1, 2), ("subgid", 1, 2)):
        try:
            lines = (etc / file).read_text(errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            fields = line.split(":")
            try:
                yield file, fields[0], int(fields[of_first]), 1 if of_count is None else int(fields[of_count])
            except (IndexError, ValueError):
                continue
