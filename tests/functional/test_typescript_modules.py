"""A TypeScript program of several modules: all of them are checked and emitted, and it runs as `tsc && node` has it."""

import os
import pathlib
import subprocess
import tomllib
from typing import Any

import pytest

from tests.server import PREFIX, Server

ROOT = pathlib.Path(__file__).parents[2]
TOOLCHAIN = tomllib.loads((ROOT / "toolchains" / "typescript.toml").read_text())
TYPESCRIPT = PREFIX / "toolchains" / "typescript"

PROGRAMS: dict[str, dict[str, str]] = {
    "a module by its emitted name": {
        "main.ts": "import { x } from './h.js';\nconsole.log(x);\n",
        "h.ts": "export const x: number = 5;\n",
    },
    "folders and cycles": {
        "main.ts": "import { even } from './lib/even.js';\nimport * as all from './lib/index.js';\nconsole.log(even(10), Object.keys(all));\n",
        "lib/even.ts": "import { odd } from './odd.js';\nexport function even(n: number): boolean { return n === 0 || odd(n - 1); }\n",
        "lib/odd.ts": "import { even } from './even.js';\nexport function odd(n: number): boolean { return n !== 0 && even(n - 1); }\n",
        "lib/index.ts": "export * from './even.js';\nexport * from './odd.js';\nexport enum Color { Red }\n",
    },
    "CommonJS of one's own": {
        "main.ts": "import h = require('./h.cjs');\nconsole.log(h.x);\n",
        "h.cts": "export const x: number = 7;\n",
    },
    "a package of one's own is a module": {
        "main.ts": "import { x } from './h.js';\nconsole.log(x, import.meta.url.endsWith('/main.js'));\n",
        "h.ts": "export const x = await Promise.resolve(8);\n",
        "package.json": '{"type": "module"}',
    },
    "a package.json of one's own": {
        "main.ts": "import { x } from '#h';\nconsole.log(x, typeof require, this);\n",
        "h.ts": "export const x = 5;\n",
        "package.json": '{"type": "module", "imports": {"#h": "./h.js"}}',
    },
    "a name that tsc would take for an option": {
        "main.ts": "import { x } from './@scope/u.js';\nimport { y } from './-h.js';\nconsole.log(x, y);\n",
        "@scope/u.ts": "export const x = 1;\n",
        "-h.ts": "export const y = 2;\n",
    },
    "declarations of its own": {
        "main.ts": "import { x } from './h.js';\nconsole.log(x);\n",
        "h.ts": "export const x: number = 5;\n",
        "tsconfig.json": '{"compilerOptions": {"declaration": true, "declarationMap": true, "sourceMap": true, "types": ["node"]}}',
    },
    "types of its own": {
        "main.ts": "const f: Foo = { a: 1 };\nconsole.log(f.a);\n",
        "node_modules/@types/foo/index.d.ts": "interface Foo { a: number }\n",
        "tsconfig.json": '{"compilerOptions": {"types": ["foo"]}}',
    },
    "a file that is read": {
        "main.ts": "import { readFileSync } from 'node:fs';\nimport { shout } from './shout.js';\nconsole.log(shout(readFileSync('data/in.txt', 'utf8')));\n",
        "shout.ts": "export const shout = (text: string) => text.toUpperCase();\n",
        "data/in.txt": "from a file",
    },
    "declarations": {
        "main.ts": "import { twice } from './plain.js';\nconst n: Count = twice(4);\nconsole.log(n);\n",
        "plain.js": "exports.twice = (n) => 2 * n;\n",
        "plain.d.ts": "export function twice(n: number): number;\n",
        "globals.d.ts": "type Count = number;\n",
    },
    "dynamic import": {
        "main.ts": "export {};\nconst { x } = await import('./h.js');\nconsole.log(x);\n",
        "h.ts": "export const x = 'late';\n",
    },
    "without its extension Node does not find it": {
        "main.ts": "import { x } from './h';\nconsole.log(x);\n",
        "h.ts": "export const x = 1;\n",
    },
    "an error in a module": {
        "main.ts": "import { x } from './h.js';\nconsole.log(x);\n",
        "h.ts": "export const x: number = 'no';\nexport const y: string = 2;\n",
    },
    "an exception in a module": {
        "main.ts": "import { f } from './h.js';\nf();\n",
        "h.ts": "interface Unused { a: string }\n\nexport function f(): never {\n  process.exit(9);\n}\n",
    },
    "its own tsconfig.json": {
        "main.ts": "import { x } from './h.js';\nlet s: string = null;\nconsole.log(x, s);\n",
        "h.ts": "export const x: number = 3;\n",
        "tsconfig.json": '{"compilerOptions": {"strict": false, "target": "es2022", "outDir": "dist"}}',
    },
}


def entries(files: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "content": text} for name, text in files.items() if name != "main.ts"]


def bare(files: dict[str, str], place: pathlib.Path) -> tuple[int, str, str]:
    """What tsc says or, where it is content, exit code and output of node: on the host, in a folder of its own."""
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    if not (place / "node_modules").exists():
        (place / "node_modules").symlink_to(TYPESCRIPT / "node_modules")
    options = [option for option in TOOLCHAIN["bench"]["bare"][0][1:] if option != "main.ts"]
    modules = [name for name in sorted(files) if name.endswith((".ts", ".cts", ".mts"))]
    is_project = "tsconfig.json" in files
    named = [f"./{name}" for name in modules if name == "main.ts" or ".d." in name or name in ("lib/index.ts",)]
    types = [] if '"types"' in files.get("tsconfig.json", "") else ["--types", "node"]
    what = ["--project", ".", "--outDir", "out", *types] if is_project else [*options, *named]
    compiled = run([str(TYPESCRIPT / "usr/lib/typescript/tsc"), "--pretty", "false", *what], place)
    if compiled[0]:
        return compiled
    return run([str(TYPESCRIPT / "usr/bin/node"), "out/main.js" if is_project else "main.js"], place)


def run(command: list[str], place: pathlib.Path) -> tuple[int, str, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NODE_")}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def told(answer: dict[str, Any], outcome: tuple[int, str, str]) -> None:
    code, stdout, _ = outcome
    if answer["reason"] == "compile_error":
        assert (answer["error"], code != 0) == (stdout, True)
    else:
        assert (answer["exit_code"], answer["stdout"]) == (code, stdout), answer


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_of_several_modules_is_as_on_the_host(cellblock: Server, name: str, tmp_path: pathlib.Path) -> None:
    files = PROGRAMS[name]
    told(cellblock.execute("typescript", files["main.ts"], files=entries(files)), bare(files, tmp_path))


def test_a_folder_in_the_place_of_what_is_emitted_is_a_compile_error(cellblock: Server) -> None:
    files = {
        "h.ts": "export const x: number = 5;\n", "h.js/readme.txt": "hi",
        "tsconfig.json": '{"compilerOptions": {"types": ["node"]}}',
    }  # fmt: skip
    answer = cellblock.execute("typescript", "import { x } from './h.js';\nconsole.log(x);\n", files=entries(files))
    assert (answer["reason"], answer["error"][:14]) == ("compile_error", "error TS5033: "), answer
    refused = cellblock.post({"language": "typescript", "code": "", "files": entries({"emitted.packed/x": ""})})
    assert refused.status == 400


def test_what_main_does_not_import_is_emitted_and_not_checked(cellblock: Server) -> None:
    """A worker, a computed name; and what is no TypeScript at all stops nobody."""
    code = """
import { Worker } from 'node:worker_threads';
import { readFileSync } from 'node:fs';
const late = 'late';
new Worker('./worker.js').on('message', async (text) => {
  console.log(text, (await import(`./${late}.js`)).x, readFileSync('broken.ts', 'utf8'));
});
"""
    files = {
        "worker.ts": "import { parentPort } from 'node:worker_threads';\nimport * as os from 'node:os';\nparentPort!.postMessage(os.cpus().length > 0);\n",
        "late.ts": "export const x: number = 'wrong';\n",
        "broken.ts": "this is not ts",
    }
    answer = cellblock.execute("typescript", code, files=entries(files))
    assert answer["output"] == "true wrong this is not ts\n", answer


@pytest.mark.vm
def test_modules_are_emitted_and_checked(cellblock: Server) -> None:
    good, bad = PROGRAMS["folders and cycles"], PROGRAMS["an error in a module"]
    answer = cellblock.execute("typescript", good["main.ts"], files=entries(good))
    assert answer["output"] == "true [ 'Color', 'even', 'odd' ]\n", answer
    answer = cellblock.execute("typescript", bad["main.ts"], files=entries(bad))
    assert answer["reason"] == "compile_error"
    assert "h.ts(1,14): error TS2322" in answer["error"]
    answer = cellblock.execute("typescript", bad["main.ts"], files=entries(bad), check=False)
    assert answer["output"] == "no\n", answer


def test_a_trace_names_the_lines_of_the_modules(cellblock: Server) -> None:
    files = [{"name": "h.ts", "content": "interface A { b: 1 }\n\nexport const f = () => { throw new Error('x'); };\n"}]
    answer = cellblock.execute("typescript", "import { f } from './h.js';\nf();\n", files=files)
    assert "/work/h.ts:3:" in answer["stderr"]
    assert "/work/main.ts:2:" in answer["stderr"]
