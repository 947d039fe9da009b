"""Bearer tokens (RFC 6750): the file that says whose they are and what they may do, and the set that is valid now.

The file holds the SHA-256 of each token and never a token. A slow hash protects what people can remember; a token is
256 random bits, which nobody finds by trying, however fast the hash. A token is looked up by its hash, so how
long a look-up takes tells something about a hash at most, and nobody can compute a token from a part of it.
"""

import asyncio
import datetime
import enum
import hashlib
import os
import pathlib
import re
import secrets
import tomllib
from collections.abc import AsyncIterator
from typing import Annotated

import pydantic
import structlog

from daemon.sandbox.errors import OurFault

log = structlog.get_logger("cellblock.tokens")

PREFIX = "cb_"  # what scanners of published secrets look for: cb_[0-9a-f]{64}
IS_TOKEN = re.compile(rf"{PREFIX}[0-9a-f]{{64}}")
FILE_BYTES_MAX = 1 << 20  # some thousand tokens; it is read again while requests are answered
LOOK_S = 1.0  # between two looks whether the file has changed


class BadTokens(OurFault):
    """The file of tokens is wrong or cannot be read; the text is `file: token: key: what is wrong`."""


class Scope(enum.StrEnum):
    """What a token is for.

    RUN: POST /execute. GRADE: both endpoints that grade. PROBLEMS: what stores, shows and deletes problems. WATCH: what
    tells how the service is, such as the details of /health.
    """

    RUN = "run"
    GRADE = "grade"
    PROBLEMS = "problems"
    WATCH = "watch"


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be one line of printable characters")
    return text


Id = Annotated[str, pydantic.Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
Comment = Annotated[str, pydantic.Field(max_length=200), pydantic.AfterValidator(_printable)]


class Token(pydantic.BaseModel):
    """One [[tokens]] of the file. Several with one id are one client, whose requests count together.

    `requests_per_minute` 0 is no limit, None the deployment's; `share` is the part of the slots for runs that the
    client may hold while others do not want them; `memory_mb_max` and `timeout_s_max` (seconds of wall time) lower what
    a request may ask for.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    id: Id
    hash: Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{64}$")]
    scopes: frozenset[Scope] = frozenset({Scope.RUN, Scope.GRADE})
    expires: pydantic.AwareDatetime | datetime.date | None = None
    requests_per_minute: int | None = pydantic.Field(None, ge=0)
    share: float | None = pydantic.Field(None, gt=0, le=1)
    memory_mb_max: int | None = pydantic.Field(None, gt=0)
    timeout_s_max: float | None = pydantic.Field(None, gt=0, allow_inf_nan=False)
    comment: Comment = ""

    def is_expired(self, now: datetime.datetime) -> bool:
        """True from `expires` on; a date alone is its first moment in UTC."""
        match self.expires:
            case None:
                return False
            case datetime.datetime():
                return now >= self.expires
            case datetime.date():
                return now.date() >= self.expires


class _File(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    tokens: list[Token] = []


def new() -> str:
    """A token of 256 random bits."""
    return PREFIX + secrets.token_hex(32)


def hash_of(token: str) -> str:
    """As it stands in the file."""
    return hashlib.sha256(token.encode()).hexdigest()


def parse(text: str, name: str) -> tuple[Token, ...]:
    """The tokens of a file called `name`, expired ones too. Raises BadTokens."""
    try:
        found = _File.model_validate(tomllib.loads(text)).tokens
    except tomllib.TOMLDecodeError as error:
        raise BadTokens(f"{name}: {error}") from None
    except pydantic.ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        raise BadTokens("; ".join(f"{name}: {_where(one['loc'])}: {one['msg']}" for one in problems[:5])) from None
    except (ValueError, RecursionError) as error:  # of tomllib, for a number of 5000 digits, or brackets without end
        raise BadTokens(f"{name}: {type(error).__name__}: it is no TOML that can be read") from None
    if len({token.hash for token in found}) != len(found):
        raise BadTokens(f"{name}: two tokens have the same hash")
    return tuple(found)


def _where(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part + 1) if isinstance(part, int) else part for part in location) or "file"


def read(path: pathlib.Path) -> tuple[Token, ...]:
    """Raises BadTokens."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
        text = data.decode()
    except OSError as error:
        hint = "; the HTTP process's user must be able to read it" if isinstance(error, PermissionError) else ""
        raise BadTokens(f"{path}: {error.strerror}{hint}") from error
    except UnicodeDecodeError:
        raise BadTokens(f"{path}: is not UTF-8") from None
    if len(data) > FILE_BYTES_MAX:
        raise BadTokens(f"{path}: has more than {FILE_BYTES_MAX} bytes")
    return parse(text, str(path))


class Tokens:
    """The tokens of one file, which is read again when it has changed; a file that is wrong or away changes nothing.

    `wrong` says why the file as it is now could not be read, so that the tokens are those from before; None: it was.
    Raises BadTokens when it cannot be read the first time.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._stamp = _stamp(path)
        self._by_hash = {token.hash: token for token in read(path)}
        self.wrong: str | None = None

    def __repr__(self) -> str:
        return f"<Tokens {self._path}: {len(self._by_hash)}>"

    def find(self, text: str) -> Token | None:
        """The token that this text is, expired or not; None where there is none."""
        return self._by_hash.get(hash_of(text)) if IS_TOKEN.fullmatch(text) else None

    def named(self, token_id: str) -> Token | None:
        """The first token of this id, expired or not; None where there is none."""
        return next((token for token in self._by_hash.values() if token.id == token_id), None)

    def look(self) -> None:
        """Read the file again if it has changed, or could not be read. A wrong one is an error in the log, once."""
        stamp = _stamp(self._path)
        if stamp == self._stamp and self.wrong is None:
            return
        has_changed, self._stamp = stamp != self._stamp, stamp
        try:
            self._by_hash = {token.hash: token for token in read(self._path)}
        except BadTokens as error:
            is_told, self.wrong = str(error) == self.wrong and not has_changed, str(error)
            if not is_told:
                log.error("tokens not read again; those from before stay valid", reason=self.wrong)
        else:
            self.wrong = None
            log.info("tokens read again", file=str(self._path), tokens=len(self._by_hash))

    async def watched(self, _: object) -> AsyncIterator[None]:
        """Look every LOOK_S while an application lives (aiohttp's cleanup_ctx)."""
        watching = asyncio.create_task(self._watch())
        yield
        watching.cancel()
        await asyncio.wait([watching])

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await asyncio.to_thread(self.look)


def _stamp(path: pathlib.Path) -> tuple[int, int, int] | None:
    """What differs after a change, of its mode too; None where there is no such file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ctime_ns, found.st_ino, found.st_size
