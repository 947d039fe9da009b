"""The project's documents as tests read them: headings, links, and blocks of code with the marks before them."""

import dataclasses
import functools
import pathlib
import re
import shlex
from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = pathlib.Path(__file__).parents[1]
DOCUMENTS = sorted(path for path in ROOT.rglob("*.md") if "/." not in f"/{path.relative_to(ROOT)}")
MARK = re.compile(r"<!-- (not run|file): (\S.*) -->\n")
PROMPT = "$ "


@dataclasses.dataclass(frozen=True, slots=True)
class Block:
    """A block of code. `language` is empty for one that has none; `marks` are the comment right before it, by kind."""

    line: int
    language: str
    text: str
    marks: dict[str, str]

    @property
    def is_run(self) -> bool:
        return self.language == "console" and "not run" not in self.marks


@dataclasses.dataclass(frozen=True, slots=True)
class Command:
    """What stands after a prompt, maybe on several lines, and the lines that it prints."""

    text: str
    shown: str


@functools.cache
def tokens(path: pathlib.Path) -> list[Token]:
    """CommonMark, and tables as GitHub has them."""
    return MarkdownIt("commonmark").enable("table").parse(path.read_text())


def name(path: pathlib.Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(path: pathlib.Path) -> set[str]:
    """Of its headings, as GitHub makes them: lower case, without punctuation, a number where one comes again."""
    found: set[str] = set()
    for before, token in zip(tokens(path), tokens(path)[1:], strict=False):
        if before.type == "heading_open":
            text = "".join(child.content for child in token.children or ())
            anchor = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            again = sum(1 for other in found if re.fullmatch(rf"{re.escape(anchor)}(-\d+)?", other))
            found.add(f"{anchor}-{again}" if again else anchor)
    return found


def links(path: pathlib.Path) -> list[str]:
    """What its links and pictures lead to."""
    inside = [child for token in tokens(path) for child in token.children or ()]
    return [str(child.attrs[key]) for child in inside for key in ("href", "src") if key in child.attrs]


def code(path: pathlib.Path) -> str:
    """What its text shows as code, and its comments."""
    inside = [child for token in tokens(path) for child in (token, *(token.children or ()))]
    return "\n".join(token.content for token in inside if token.type in ("code_inline", "html_block"))


def blocks(path: pathlib.Path) -> Iterator[Block]:
    """All of them, indented ones too. A comment before one that is no mark is the mark of kind ''."""
    for before, token in zip([None, *tokens(path)], tokens(path), strict=False):
        if token.type not in ("fence", "code_block"):
            continue
        marks = {}
        if before is not None and before.type == "html_block":
            found = MARK.fullmatch(before.content)
            marks = {"": before.content} if found is None else {found[1]: found[2]}
        yield Block((token.map or [0])[0] + 1, token.info, token.content, marks)


def commands(text: str) -> list[Command]:
    """Of a console block. A command goes on over lines while a quotation is open or a line ends with a backslash."""
    found: list[Command] = []
    lines = text.splitlines()
    while lines:
        line = lines.pop(0)
        if not line.startswith(PROMPT):
            assert found, f"a console block begins with a prompt, and not with {line!r}"
            found[-1] = Command(found[-1].text, f"{found[-1].shown}{line}\n")
            continue
        command = line.removeprefix(PROMPT)
        while lines and _is_open(command):
            command = f"{command}\n{lines.pop(0)}"
        found.append(Command(command, ""))
    return found


def _is_open(command: str) -> bool:
    try:
        shlex.split(command)
    except ValueError:
        return True
    return False
