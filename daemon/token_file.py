"""Writes the file of tokens: what `cellblock token` does."""

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import tempfile

from daemon.api import tokens
from daemon.api.tokens import BadTokens, Token
from daemon.sandbox.errors import OurFault

LOCK_MODE = 0o600
MODE = 0o640  # who runs programs for others may read it, and not make tokens


class CannotWrite(OurFault):
    """The file of tokens cannot be written; the text names it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Made:
    """`text` is the token, which is nowhere else; `entry` is what the file has of it."""

    text: str
    entry: Token


def make(known: tuple[Token, ...], **fields: object) -> Made:
    """A new token. What `fields` do not say (or say with None) is as the latest of `known` with the same id has it, but
    for `expires`. Raises BadTokens."""
    text = tokens.new()
    said = {name: value for name, value in fields.items() if value is not None}
    earlier = [token.model_dump(exclude={"expires"}, exclude_unset=True) for token in known if token.id == said["id"]]
    table = {**(earlier[-1] if earlier else {}), **said, "hash": tokens.hash_of(text)}
    try:
        return Made(text, Token.model_validate(table))
    except ValueError as error:
        raise BadTokens(_first_line(error)) from None


def _first_line(error: ValueError) -> str:
    errors = error.errors() if hasattr(error, "errors") else []
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in errors) or str(error)


def table(token: Token) -> str:
    """As it stands in the file."""
    lines = ["[[tokens]]"]
    for name in sorted(token.model_fields_set, key=list(Token.model_fields).index):
        value = getattr(token, name)
        if name == "scopes":
            text = json.dumps(sorted(value))
        elif name == "expires":
            text = value.isoformat()
        else:
            text = json.dumps(value, ensure_ascii=False)  # strings of printable characters are the same in TOML
        lines.append(f"{name} = {text}")
    return "\n".join(lines) + "\n"


def known(path: pathlib.Path) -> tuple[Token, ...]:
    """The tokens of the file, none where there is no file. Raises BadTokens."""
    return tokens.read(path) if path.exists() else ()


def append(path: pathlib.Path, made: Made, group: int | None) -> None:
    """Put the new token at the end of the file: whoever reads it meanwhile sees all of it or nothing.

    A new file is root's and may be read by `group`, or is its owner's alone where `group` is None; an old one keeps
    owner and mode. Raises CannotWrite, BadTokens.
    """
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with _locked(path):
            before = path.read_text() if path.exists() else ""
            text = f"{before.rstrip()}\n\n{table(made.entry)}".lstrip()
            tokens.parse(text, str(path))
            _replace(path, text, group)
    except OSError as error:
        raise CannotWrite(f"{path}: {error.strerror}") from error


def _locked(path: pathlib.Path) -> contextlib.ExitStack:
    """Keeps another `cellblock token new` out: of two that read the same file one would be lost.

    The lock is on a file of its own, which only its owner opens: whoever can open a file may lock it (flock(2)), and
    others may read the tokens and their folder. It stays, because two may hold locks where it is removed.
    """
    with contextlib.ExitStack() as stack:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path.with_name(f".{path.name}.lock"), flags, LOCK_MODE)
        stack.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return stack.pop_all()


def _replace(path: pathlib.Path, text: str, group: int | None) -> None:
    """Raises OSError, and then has changed nothing."""
    old = path.stat() if path.exists() else None
    with contextlib.ExitStack() as stack:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # readable by its owner alone
        file = stack.enter_context(os.fdopen(descriptor, "w"))
        stack.callback(pathlib.Path(name).unlink, missing_ok=True)
        if old is not None:
            os.fchown(descriptor, old.st_uid, old.st_gid)
            os.fchmod(descriptor, old.st_mode & 0o7777)
        elif group is not None:
            os.fchown(descriptor, -1, group)
            os.fchmod(descriptor, MODE)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
        os.replace(name, path)
