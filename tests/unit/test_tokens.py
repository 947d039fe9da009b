"""Bearer tokens: what the file says of them, how they are made, and what happens when the file changes."""

import contextlib
import datetime
import fcntl
import os
import pathlib
import re
import resource
import stat
import threading

import pytest

from daemon import token_file
from daemon.api import tokens
from daemon.api.tokens import BadTokens, Scope, Token, Tokens

UTC = datetime.UTC
TEXT = "cb_" + "0123456789abcdef" * 4  # not a new one: it is part of a test's name, which is the same for both workers
TABLE = f'[[tokens]]\nid = "contest"\nhash = "{tokens.hash_of(TEXT)}"\n'


def test_a_token_has_256_random_bits_and_a_form_that_scanners_find() -> None:
    found = {tokens.new() for _ in range(100)}
    assert len(found) == 100
    assert all(re.fullmatch(r"cb_[0-9a-f]{64}", text) for text in found)


def test_a_table_needs_no_more_than_id_and_hash() -> None:
    (token,) = tokens.parse(TABLE, "x")
    assert token.scopes == {Scope.RUN, Scope.GRADE}
    assert not token.is_expired(datetime.datetime.max.replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("line", "said"),
    [('scopes = ["run", "fly"]', "tokens.1.scopes"), ("share = 0", "share"), ("share = 1.5", "share"), ("rate = 5", "rate"),
     ("expires = 2027-01-01T10:00:00", "expires"), ("requests_per_minute = -1", "requests_per_minute"),
     ('comment = "two\\nlines"', "comment"), ("timeout_s_max = inf", "timeout_s_max"), ("memory_mb_max = 0", "memory_mb_max"),
     ("id =", "x: "), (TABLE, "two tokens have the same hash"), ("[other]", "other")],
)  # fmt: skip
def test_a_wrong_file_is_told_with_token_and_key(line: str, said: str) -> None:
    with pytest.raises(BadTokens) as error:
        tokens.parse(f"{TABLE}{line}\n", "x")
    assert said in str(error.value)


@pytest.mark.parametrize("id_and_hash", ['id = "Bad Name"\nhash = "HASH"', 'id = "x"\nhash = "cb_1"', 'id = "x"'])
def test_an_id_is_a_plain_word_and_a_hash_is_one(id_and_hash: str) -> None:
    with pytest.raises(BadTokens):
        tokens.parse("[[tokens]]\n" + id_and_hash.replace("HASH", tokens.hash_of("x")), "x")


def test_a_hash_in_the_error_of_another_key_is_not_shown() -> None:
    with pytest.raises(BadTokens) as error:
        tokens.parse(TABLE + "share = 2\n", "x")
    assert tokens.hash_of(TEXT) not in str(error.value)


@pytest.mark.parametrize("text", ["2027-01-02T03:00:00Z", "2027-01-02"])
def test_a_token_ends_at_its_moment_or_with_the_first_moment_of_its_day(text: str) -> None:
    (token,) = tokens.parse(f"{TABLE}expires = {text}\n", "x")
    moment = datetime.datetime(2027, 1, 2, 3 if "T" in text else 0, tzinfo=UTC)
    assert not token.is_expired(moment - datetime.timedelta(seconds=1))
    assert token.is_expired(moment)


def test_a_token_is_found_and_what_is_no_token_is_not(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text(TABLE)
    known = Tokens(file)
    found = known.find(TEXT)
    assert found is not None and found.id == "contest"
    for other in (tokens.new(), TEXT[3:], TEXT.upper(), TEXT + " ", "", tokens.hash_of(TEXT), "cb_\udcff"):
        assert known.find(other) is None


def test_a_file_that_has_changed_is_read_again_and_a_wrong_one_changes_nothing(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, second = tmp_path / "tokens.toml", tokens.new()
    file.write_text(TABLE)
    known = Tokens(file)
    file.write_text(f'{TABLE}[[tokens]]\nid = "contest"\nhash = "{tokens.hash_of(second)}"\n')
    known.look()
    assert known.find(TEXT) is not None and known.find(second) is not None, "both tokens of one id are valid"
    for wrong in ("[[tokens]]\n", None, "\xff"):
        file.unlink() if wrong is None else file.write_text(wrong, "latin-1")
        capsys.readouterr()
        known.look()
        known.look()
        assert known.find(TEXT) is not None
        assert capsys.readouterr().out.count("tokens not read again") == 1, "told once"
        assert known.wrong is not None
    file.write_text("")
    known.look()
    assert known.find(TEXT) is None and known.wrong is None


def test_a_file_that_could_not_be_opened_is_tried_again_though_it_has_not_changed(tmp_path: pathlib.Path) -> None:
    """Such as for want of a descriptor. A token that was removed stayed valid until the file changed once more."""
    file = tmp_path / "tokens.toml"
    file.write_text(TABLE)
    known = Tokens(file)
    file.write_text("")
    lowest, before = os.dup(0), resource.getrlimit(resource.RLIMIT_NOFILE)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        known.look()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert known.find(TEXT) is not None and known.wrong is not None
    known.look()
    assert known.find(TEXT) is None and known.wrong is None


def test_a_file_that_is_not_there_or_too_large_stops_the_start(tmp_path: pathlib.Path) -> None:
    with pytest.raises(BadTokens, match="No such file"):
        Tokens(tmp_path / "none")
    (tmp_path / "large").write_text("#" * (tokens.FILE_BYTES_MAX + 1))
    with pytest.raises(BadTokens, match="more than"):
        Tokens(tmp_path / "large")


def test_a_new_token_is_appended_and_leaves_what_was_there(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "etc" / "tokens.toml"
    made = token_file.make((), id="a", comment='say "hi" \\ ü', expires=datetime.datetime(2027, 1, 1, tzinfo=UTC))
    token_file.append(file, made, None)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text(f"# mine\n{file.read_text()}share = 0.5\nscopes = ['watch']")
    file.chmod(0o640)
    second = token_file.make(token_file.known(file), id="a")
    token_file.append(file, second, None)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert file.read_text().startswith("# mine\n")
    assert made.text not in file.read_text() and second.text not in file.read_text()
    old, new = token_file.known(file)
    assert old.comment == 'say "hi" \\ ü'
    assert (new.share, new.scopes, new.comment, new.expires) == (0.5, {Scope.WATCH}, old.comment, None)
    assert sorted(os.listdir(file.parent)) == [".tokens.toml.lock", "tokens.toml"]


def test_every_field_of_a_token_is_written_as_it_is_read() -> None:
    token = Token(
        id="a.b-c", hash=tokens.hash_of("x"), scopes=frozenset(Scope), expires=datetime.datetime(2027, 1, 1, tzinfo=UTC),
        requests_per_minute=0, share=0.25, memory_mb_max=64, timeout_s_max=2.5, comment="ünï 'x' \"y\"",
    )  # fmt: skip
    assert tokens.parse(token_file.table(token), "x") == (token,)
    day = token.model_copy(update={"expires": datetime.date(2027, 1, 1)})
    assert tokens.parse(token_file.table(day), "x") == (day,)


def test_a_wrong_file_or_a_wrong_wish_is_told_and_changes_nothing(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "tokens.toml"
    with pytest.raises(BadTokens, match="id: "):
        token_file.make((), id="Bad Name")
    with pytest.raises(BadTokens, match="scopes"):
        token_file.make((), id="a", scopes=("fly",))
    file.write_text("[[tokens]]\n")
    with pytest.raises(BadTokens):
        token_file.append(file, token_file.make((), id="a"), None)
    assert file.read_text() == "[[tokens]]\n"


def test_of_tokens_that_are_made_at_the_same_time_none_is_lost(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "tokens.toml"
    makers = [
        threading.Thread(target=lambda: token_file.append(file, token_file.make((), id="a"), None)) for _ in range(20)
    ]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert len(token_file.known(file)) == 20


def test_who_may_only_read_cannot_hold_a_new_token_up(tmp_path: pathlib.Path) -> None:
    """A lock needs nothing but a descriptor, and everybody may open the folder, some the file of tokens."""
    file = tmp_path / "tokens.toml"
    file.write_text(TABLE)
    with contextlib.ExitStack() as stack:
        for readable in (file, tmp_path):
            descriptor = os.open(readable, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        token_file.append(file, token_file.make((), id="a"), None)
    assert len(token_file.known(file)) == 2
    assert stat.S_IMODE((tmp_path / ".tokens.toml.lock").stat().st_mode) == 0o600


@pytest.mark.parametrize("text", [f"a = {'1' * 5000}", f"a = {'[' * 5000}"], ids=["digits", "brackets"])
def test_a_file_that_the_parser_itself_fails_at_is_a_wrong_one(text: str) -> None:
    """Else nobody would look at the file again, and a token that was taken out would stay valid."""
    with pytest.raises(BadTokens, match="no TOML that can be read"):
        tokens.parse(text, "tokens.toml")
