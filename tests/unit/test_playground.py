"""The page at /: who gets it, that it loads nothing from elsewhere, and that its scripts are sound."""

import json
import pathlib
import re
import subprocess
import tomllib
from typing import Any

import pytest

from daemon.api import playground
from daemon.api.playground import FILES, FOLDER, POLICY, prefers_page
from daemon.toolchain import registry
from tests.server import PREFIX

ROOT = pathlib.Path(__file__).parents[2]
TOOLCHAINS = registry.load([ROOT / "toolchains", ROOT / "toolchains/languages"])
PRISM = PREFIX / "toolchains" / playground.EDITOR
TYPESCRIPT = PREFIX / "toolchains/typescript/usr"
SENT_MAX = 150_000  # bytes
CHROMIUM = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [
        (CHROMIUM, True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("text/html", True),
        ("TEXT/HTML ; charset=utf-8", True),
        ("text/*", True),
        ("text/html;q=0.5, application/json;q=0.4", True),
        ("application/json;q=0, */*", True),
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("application/json, text/html", False),
        ("text/html;q=0.4, application/json;q=0.5", False),
        ("text/html;q=0, text/*", False),
        ("text/html;q=0", False),
        ("text/*;q=0.2, */*;q=0.3", False),
        (";;;,,q=,text", False),
        ("text/html;q=nan, application/json;q=1e9", False),
    ],
)
def test_the_page_is_for_who_prefers_html(accept: str, is_page: bool) -> None:
    """RFC 9110, 12.5.1: the most specific range decides, and a weight that is none does not."""
    assert prefers_page(accept) == is_page


def test_every_file_of_the_page_is_served() -> None:
    """All but index.html and what ./bootstrap reads; prism.js comes from there."""
    beside = {"index.html", "package.json", "package-lock.json"}
    assert {path.name for path in FOLDER.iterdir()} - beside == set(FILES) - {playground.PRISM}


def test_whatever_the_page_refers_to_is_there() -> None:
    html = (FOLDER / "index.html").read_text()
    named = set(re.findall(r'(?:src|href)="playground/([^"]+)"', html))
    assert {"page.js", "page.css", "icon.svg", "prism.js"} == named
    for path in FOLDER.glob("*.js"):
        assert set(re.findall(r'from "\./([^"]+)"', path.read_text())) <= set(FILES), path
    assert set(re.findall(r"var\((--[\w-]+)\)", (FOLDER / "page.css").read_text())) <= set(
        re.findall(r"(--[\w-]+):", (FOLDER / "page.css").read_text())
    )


def test_every_part_that_a_script_asks_for_is_in_the_page() -> None:
    ids = set(re.findall(r'id="([^"]+)"', (FOLDER / "index.html").read_text()))
    asked = set(re.findall(r'(?:part|area|button)\("([^"]+)"\)', (FOLDER / "page.js").read_text()))
    assert asked <= ids


def test_nothing_is_inline_and_nothing_comes_from_elsewhere() -> None:
    """The policy allows the files of this server alone; text never becomes HTML."""
    html = (FOLDER / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=|javascript:", html)
    for path in FOLDER.iterdir():
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", path.read_text()), path
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", path.read_text()), path
    assert "unsafe" not in POLICY
    assert POLICY.startswith("default-src 'none';")


def test_all_of_it_is_small() -> None:
    sent = [FOLDER / "index.html", PRISM, *(FOLDER / name for name in FILES if name != playground.PRISM)]
    assert sum(path.stat().st_size for path in sent) < SENT_MAX


@pytest.mark.parametrize("toolchain", list(TOOLCHAINS), ids=lambda one: one.id)
def test_every_language_has_an_example_and_colours(toolchain: Any) -> None:
    assert toolchain.example is not None
    assert toolchain.example.endswith("\n")
    assert max(map(len, toolchain.example.splitlines())) <= 72
    assert re.search(
        rf"\.languages\.{toolchain.lexer}=|languages,\"{toolchain.lexer}\"|\.{toolchain.lexer}=", PRISM.read_text()
    )


def node(script: str, tmp_path: pathlib.Path, *arguments: str) -> Any:
    """What a module prints as JSON that lies where it can import the page's. Node is that of the toolchain."""
    path = tmp_path / "script.mjs"
    imports = script.replace('"./', f'"{FOLDER}/')
    path.write_text(imports)
    done = subprocess.run(
        [TYPESCRIPT / "bin/node", path, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_its_scripts_pass_the_type_checker() -> None:
    """Strictly, by the compiler that checks programs; the types stand in comments."""
    command = [
        TYPESCRIPT / "lib/typescript/tsc", "--allowJs", "--checkJs", "--noEmit", "--strict", "--target", "es2024", "--types", "",
        "--lib", "es2024,dom,dom.iterable,dom.asynciterable", "--noUncheckedIndexedAccess", "--noUnusedLocals",
        "--noPropertyAccessFromIndexSignature", *sorted(FOLDER.glob("*.js")),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert (done.returncode, done.stdout) == (0, "")


SAID = {  # what compilers, interpreters and stack traces say: text, source, whether a compiler says it; then what is marked
    "tsc": (
        "main.ts(1,7): error TS2322: Type 'string' is not assignable to type 'number'.\nmain.ts(3,1): error TS2304: No x.\n",
        "main.ts", True,
        [[1, 7, "error TS2322: Type 'string' is not assignable to type 'number'."], [3, 1, "error TS2304: No x."]],
    ),
    "rustc": (
        "error[E0308]: mismatched types\n --> main.rs:2:18\n  |\n2 |     let x: i32 = \"\";\n\nerror: aborting\n",
        "main.rs", True, [[2, 18, "error[E0308]: mismatched types"]],
    ),
    "gcc": (
        "main.c: In function 'main':\nmain.c:3:5: warning: unused 'x'\nmain.c:3:5: error: 'y' undeclared\n"
        "main.c:3:5: note: each is reported once\n",
        "main.c", True, [[3, 5, "error: 'y' undeclared"]],
    ),
    "go": ("./main.go:4:2: undefined: x\n", "main.go", True, [[4, 2, "undefined: x"]]),
    "javac": ("Main.java:3: error: ';' expected\n", "Main.java", True, [[3, 1, "error: ';' expected"]]),
    "python": (
        'Traceback (most recent call last):\n  File "/work/main.py", line 5, in <module>\n    f()\n'
        '  File "/work/main.py", line 2, in f\n    1 / 0\nZeroDivisionError: division by zero\n',
        "main.py", False, [[2, 1, "ZeroDivisionError: division by zero"]],
    ),
    "node": (
        "/work/main.js:1\nnull.x;\n     ^\n\nTypeError: Cannot read properties of null\n"
        "    at Object.<anonymous> (/work/main.js:1:6)\n",
        "main.js", False, [[1, 1, "TypeError: Cannot read properties of null"]],
    ),
    "rust": (
        "\nthread 'main' (2) panicked at main.rs:2:5:\nit is broken\nnote: run with `RUST_BACKTRACE=1`\n",
        "main.rs", False, [[2, 5, "it is broken"]],
    ),
    "java": (
        'Exception in thread "main" java.lang.RuntimeException: no\n\tat Main.main(Main.java:3)\n',
        "Main.java", False, [[3, 1, 'Exception in thread "main" java.lang.RuntimeException: no']],
    ),
    "go trace": (
        "panic: no\n\ngoroutine 1 [running]:\nmain.main()\n\t/work/main.go:4 +0x25\nexit status 2\n",
        "main.go", False, [[4, 1, "panic: no"]],
    ),
    "bash": ("run: line 3: foo: command not found\n", "run", False, [[3, 1, "foo: command not found"]]),
    "nothing of ours": ("other_main.py:3: error: x\nxmain.py:3\nmain.pyc:3\n", "main.py", True, []),
}  # fmt: skip


def test_places_in_what_compilers_and_traces_say_are_found(tmp_path: pathlib.Path) -> None:
    script = """
        import { marks } from "./places.js";
        const said = JSON.parse(process.argv[2]);
        const found = said.map((one) => marks(...one).map(({ line, column, message }) => [line, column, message]));
        console.log(JSON.stringify(found));
    """
    found = node(script, tmp_path, json.dumps([one[:3] for one in SAID.values()]))
    assert dict(zip(SAID, found, strict=True)) == {name: one[3] for name, one in SAID.items()}


def test_events_are_read_however_the_stream_is_cut(tmp_path: pathlib.Path) -> None:
    """Also in the middle of a character, of a line, of an end of line."""
    script = """
        import { events } from "./events.js";
        const text = 'event: stdout\\r\\ndata: {"text": "a\\u00e9\\ud83d\\ude00"}\\r\\n\\r\\nevent: result\\ndata: 1\\n\\n';
        const bytes = new TextEncoder().encode(text);
        const all = [];
        for (const size of [1, 2, 3, 7, 1000]) {
          const pieces = [];
          for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.slice(at, at + size));
          const found = [];
          for await (const event of events(ReadableStream.from(pieces))) found.push([event.name, event.data]);
          all.push(found);
        }
        console.log(JSON.stringify(all));
    """
    assert node(script, tmp_path) == [[["stdout", {"text": "aé😀"}], ["result", 1]]] * 5


def test_a_link_holds_a_program_and_a_wrong_one_is_refused(tmp_path: pathlib.Path) -> None:
    """One that would unpack to more than 8 MB, or to more lines than a browser shows in time, too."""
    script = """
        import { decode, encode } from "./link.js";
        import { deflateRawSync } from "node:zlib";
        const files = [{ name: "a", content: "AA==", encoding: "base64" }];
        const program = { language: "python", code: "print('\\u00e9\\ud83d\\ude00')\\n", stdin: "1\\n", args: ["", "b c"], files };
        const link = await encode(program);
        const packed = (value) => "1." + deflateRawSync(JSON.stringify(value)).toString("base64url");
        const bomb = packed({ language: "x", code: "a".repeat(9 << 20) });
        const lines = "x\\n".repeat(140000);
        const long = [{ ...program, code: lines }, { ...program, stdin: lines }, { ...program, args: lines.split("\\n") }];
        const wrong = ["", "1.", "2." + link, "1.%%%", link.slice(0, -9), bomb, ...long.map(packed), packed({ code: 1 }), packed(null), packed({ ...program, args: [1] })];
        const refused = await Promise.all(wrong.map((one) => decode(one).then(() => false, () => true)));
        const noise = Array.from({ length: 90000 }, () => String.fromCharCode(33 + Math.random() * 90)).join("");
        const tooLong = [...long, { ...program, code: noise }].map(encode);
        const ends = await Promise.allSettled(tooLong);
        const isTooLong = ends.every((one) => one.reason instanceof RangeError);
        const same = JSON.stringify(await decode(link)) === JSON.stringify(program);
        console.log(JSON.stringify([/^[\\w.-]+$/.test(link), same, refused.every(Boolean), isTooLong]));
    """
    assert node(script, tmp_path) == [True, True, True, True]


def test_prism_is_taken_by_its_hash() -> None:
    lock = json.loads((FOLDER / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert list(packages) == ["node_modules/prismjs"]
    assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())
    assert (
        "playground/*.js"
        in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["daemon.api"]
    )
