"""What the documents say can be followed: links, paths, blocks of code, spelling, and the remedies of every error."""

import ast
import collections
import pathlib
import re
import subprocess
import sys
import urllib.parse

import pytest

from daemon import doctor, host_fairness, host_walls
from daemon.api import access
from daemon.api.error_codes import CODES
from daemon.finding import Grade
from tests import documents
from tests.documents import DOCUMENTS, ROOT

README = ROOT / "README.md"
SCREEN = 80  # lines
LANGUAGES = {"console", "json", "python", "rust", "sh", "text", "toml", "typescript", "yaml"}
TROUBLE = ROOT / "docs" / "troubleshooting.md"
A_LANGUAGE = "a language"  # the doctor's line of a toolchain is called after it
FOLDERS = "clients|daemon|docs|jail_configs|nginx|observability|systemd|tests|toolchains"
PATH = re.compile(rf"(?<![\w/.])(?:{FOLDERS})/[\w./-]*\w/?(?![\w*{{])")
each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=documents.name)


def problem_of(path: pathlib.Path, link: str) -> str | None:
    """What is wrong with a link of this document; of one to another host, its form alone."""
    parts = urllib.parse.urlsplit(link)
    if parts.scheme or parts.netloc:
        is_well = parts.scheme in ("http", "https") and re.fullmatch(r"[\w-]+(\.[\w-]+)+(:\d+)?", parts.netloc)
        return None if is_well else "no address"
    target = (path.parent / parts.path).resolve() if parts.path else path
    if not target.is_relative_to(ROOT) or not target.exists():
        return "no such file"
    if parts.fragment and (target.suffix != ".md" or parts.fragment not in documents.anchors(target)):
        return "no such heading"
    return None


@each_document
def test_every_link_leads_somewhere(path: pathlib.Path) -> None:
    found = {link: problem_of(path, link) for link in documents.links(path)}
    assert {link: problem for link, problem in found.items() if problem} == {}


def test_every_document_is_reached_from_the_readme() -> None:
    reached: set[pathlib.Path] = set()
    found = {README}
    while found:
        reached |= found
        leads = {(path.parent / link.partition("#")[0]).resolve() for path in found for link in documents.links(path)}
        found = (leads & set(DOCUMENTS)) - reached
    assert set(DOCUMENTS) - reached == set()


def test_links_that_lead_nowhere_are_found() -> None:
    for link in (
        "docs/none.md",
        "docs/api.md#none",
        "#none",
        "bootstrap#errors",
        "../elsewhere",
        "https://",
        "ftp://a.b/",
    ):
        assert problem_of(README, link), link
    for link in ("docs/api.md", "docs/api.md#errors", "#two-commands", "docs", "https://example.org/a#b"):
        assert problem_of(README, link) is None, link


@each_document
def test_every_path_of_the_project_exists(path: pathlib.Path) -> None:
    assert [found for found in PATH.findall(documents.code(path)) if not (ROOT / found).exists()] == []


@each_document
def test_every_block_of_code_is_fenced_and_names_its_language(path: pathlib.Path) -> None:
    found = {block.line: block.language for block in documents.blocks(path)}
    assert {line: language for line, language in found.items() if language not in LANGUAGES} == {}


@each_document
def test_a_mark_before_a_block_is_for_its_kind(path: pathlib.Path) -> None:
    """`not run` before shell blocks, and before each that a test cannot run; `file` before others."""
    for block in documents.blocks(path):
        assert set(block.marks) <= ({"not run"} if block.language in ("console", "sh") else {"file"}), block
        assert block.language != "sh" or "not run" in block.marks, block


def test_the_readme_is_one_screen() -> None:
    assert README.read_text().count("\n") <= SCREEN


def test_nothing_is_misspelt() -> None:
    """By codespell, in all of the project; pyproject.toml says what it passes over."""
    done = subprocess.run(
        [pathlib.Path(sys.executable).parent / "codespell"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def rows(heading: str) -> list[list[str]]:
    """Of the first table below a heading of the document about trouble: its rows, without the head."""
    section = TROUBLE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [re.split(r" \| ", line.removeprefix("| ").removesuffix(" |")) for line in lines[1:]]


def test_every_error_code_has_its_remedy() -> None:
    told = {f"`{code}`": [f"{it.status}{' *' * it.retry}", it.when] for code, it in CODES.items()}
    found = {code: [status.replace("\\", ""), when] for status, code, when, _ in rows("Error codes")}
    assert found == told
    assert all(remedy.endswith(".") for *_, remedy in rows("Error codes"))


def lines_of_doctor() -> collections.Counter[tuple[str, str]]:
    """Name and grade of each finding in the source that is not well."""
    found: collections.Counter[tuple[str, str]] = collections.Counter()
    for module in (doctor, host_fairness, host_walls):
        for node in ast.walk(ast.parse(pathlib.Path(module.__file__).read_text())):
            if not isinstance(node, ast.Call) or ast.unparse(node.func) != "Finding":
                continue
            grade, line = node.args[0], node.args[1]
            assert isinstance(grade, ast.Attribute), f"line {node.lineno}: the grade is a word, so that it can be read"
            name = str(line.value) if isinstance(line, ast.Constant) else A_LANGUAGE
            if Grade[grade.attr] in (Grade.WARN, Grade.FAIL):
                found[name, Grade[grade.attr].value] += 1
    return found


def test_every_line_of_doctor_that_warns_or_fails_has_its_remedy() -> None:
    told = collections.Counter((name, grade) for name, grade, _, _ in rows("cellblock doctor"))
    assert told == lines_of_doctor()
    assert all(says and remedy.endswith(".") for _, _, says, remedy in rows("cellblock doctor"))


def test_what_needs_no_token_is_named() -> None:
    text = (ROOT / "docs" / "access.md").read_text()
    assert {path for path in access.OPEN if not re.search(rf"`(GET )?{re.escape(path)}`", text)} == set()
