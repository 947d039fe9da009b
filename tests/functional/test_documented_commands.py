"""What the documents' shell blocks show is what happens; docs/development.md has the rules."""

import os
import pathlib
import re
import subprocess

import pytest

from tests import documents
from tests.documents import DOCUMENTS, Command
from tests.server import COMMAND, Server, readable

ADDRESS = "http://127.0.0.1:8000"  # of the server in documents
BLOCK_S = 60
END = "\x1e"  # between what one command prints and the next
VARIES = re.compile(r"\b[0-9a-f]{32,}\b|\d+(?:\.\d+)+(?:e-\d+)?|\d+e-\d+|\d{5,}")  # hashes, figures, versions
WITH_COMMANDS = [path for path in DOCUMENTS if any(block.is_run for block in documents.blocks(path))]


def run(commands: list[Command], folder: pathlib.Path, server: Server) -> list[Command]:
    """The same commands, in one shell, with what they print. All succeed, but for one whose `$?` is asked for next."""
    script = ""
    for command, then in zip(commands, [*commands[1:], None], strict=True):
        failing = then is not None and "$?" in then.text
        check = "" if failing else '[ "$status" = 0 ] || exit "$status"\n'
        script += f"{command.text}\nstatus=$?; printf '{END}'\n{check}(exit \"$status\")\n"
    address = f"http://127.0.0.1:{server.port}"
    done = subprocess.run(
        ["bash", "-c", script.replace(ADDRESS, address)],
        cwd=folder,
        env={**os.environ, "PATH": f"{pathlib.Path(COMMAND).parent}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=BLOCK_S,
    )
    assert done.returncode == 0, done.stdout
    printed = done.stdout.replace(address, ADDRESS).split(END)[:-1]
    return [Command(command.text, text) for command, text in zip(commands, printed, strict=True)]


def shape(commands: list[Command]) -> list[tuple[str, str]]:
    """Without what differs from run to run and from host to host, and without blanks at the ends of lines."""
    lines = [(command.text, VARIES.sub("0", command.shown).splitlines()) for command in commands]
    return [(text, "\n".join(map(str.rstrip, printed)).strip("\n")) for text, printed in lines]


@pytest.mark.parametrize("path", WITH_COMMANDS, ids=documents.name)
def test_what_a_document_shows_is_what_happens(path: pathlib.Path, cellblock: Server, tmp_path: pathlib.Path) -> None:
    readable(tmp_path)
    for block in documents.blocks(path):
        if "file" in block.marks:
            text = block.text.replace(ADDRESS, f"http://127.0.0.1:{cellblock.port}")
            (tmp_path / block.marks["file"]).write_text(text)
        if block.is_run:
            shown = documents.commands(block.text)
            found = run(shown, tmp_path, cellblock)
            assert shape(found) == shape(shown), f"{documents.name(path)}, line {block.line}"


def test_a_document_that_is_wrong_is_found(cellblock: Server, tmp_path: pathlib.Path) -> None:
    """Other words, small numbers and lines are told apart, figures are not; a command that fails is an error."""
    console = "$ echo 'took 0.25 s\n  42'; false\ntook 0.75 s\n  42\n$ echo $?\n1\n"
    shown = documents.commands(console)
    assert [command.text for command in shown] == ["echo 'took 0.25 s\n  42'; false", "echo $?"]
    found = run(shown, tmp_path, cellblock)
    assert shape(found) == shape(shown)
    for right, wrong in (("  42\n$", "  43\n$"), ("took 0.75", "takes 0.75"), ("\n1\n", "\n1\n1\n")):
        assert shape(found) != shape(documents.commands(console.replace(right, wrong)))
    with pytest.raises(AssertionError):
        run(documents.commands("$ false\n$ echo 1\n1\n"), tmp_path, cellblock)
