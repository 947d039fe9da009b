"""The TypeScript service says what the compile step says, emits what behaves alike, and nothing leaks between checks."""

import collections.abc
import concurrent.futures
import os
import pathlib
import shutil
import signal
from typing import Any

import pytest

from tests import posture
from tests.server import START_S, Server, readable, until

SHIPPED = pathlib.Path(__file__).parents[2] / "toolchains"
COMPARED = ("stdout", "stderr", "exit_code", "signal", "reason", "error")

PROGRAMS = {
    "hello": 'console.log("hello");',
    "empty": "",
    "type_error": 'const a: number = "x";\nconst b: string = 1;\n',
    "chain": "interface A { x: { y: { z: number } } }\nconst a: A = { x: { y: { z: 'no' } } };\nconst f: (n: number) => string = (s: string) => 1;\n",
    "overload": "function f(a: number): void; function f(a: string): void; function f(a: any) {}\nf(true);\n",
    "syntax": "const = 1;\nfunction (\n",
    "syntax_and_type": "const x: number = 'a'\nlet y = {;\n",
    "unicode_position": "const ä = '😀'; const n: number = 'é';\n",
    "crlf": "const a = 1;\r\nconst b: string = a;\r\n",
    "missing_module": "import x from './nowhere';\nimport y from 'no-such-package';\nconsole.log(x, y);\n",
    "node_types": "import { readFileSync } from 'node:fs';\nconst n: number = readFileSync('/dev/null');\n",
    "implicit_any": "function f(a) { return a; }\nf(1);\n",
    "strict_null": "const s: string = null;\nfunction g(x?: string) { return x.length; }\n",
    "unknown_name": "consle.log(1);\nwindow.alert(1);\n",
    "target_library": "[1].toSorted(); new Set([1]).union(new Set([2])); Promise.withResolvers();\n",
    "global_conflict": "const name = 1;\nvar process = 2;\n",
    "declare_global": "declare global { interface Array<T> { mine(): T } }\nexport {};\n[1].mine();\n",
    "namespace_and_enum": "enum E { A = 1, B = 'b' }\nnamespace N { export const x = 1; export namespace M { export const y = 2; } }\nconst enum C { X = 3 }\nconsole.log(E.A, E.B, E[1], N.x, N.M.y, C.X, Object.keys(E), Object.keys(N));\n",
    "parameter_properties": "class P { constructor(public a = 1, private readonly b = 2, protected c?: number) {} sum() { return this.a + this.b; } }\nconsole.log(new P().sum(), Object.keys(new P()));\n",
    "class_fields": "class A { x = 1; static y = 2; #z = 3; declare w: number; get z() { return this.#z; } static { A.y++; } accessor v = 5; }\nconsole.log(Object.keys(new A()), A.y, new A().z, new A().v, A.name);\n",
    "decorators": "function log(value: any, context: DecoratorContext) { console.log(context.kind, String(context.name)); return value; }\n@log class A { @log m() {} @log static s() {} @log f = (v: any) => v; @log accessor a = 1; @log get g() { return 1; } }\nconsole.log(A.name);\n",
    "decorator_order": "const d = (n: string) => { console.log('make', n); return (v: any, c: any) => { console.log('apply', n); c.addInitializer?.(() => console.log('init', n)); }; };\n@d('one') @d('two') class A { @d('m') m() {} }\nnew A();\n",
    "decorated_class_shown": "function tag(value: any, context: any) { console.log(context.metadata); return value; }\n@tag class A { x = 1 }\nconsole.log(A, Object.getOwnPropertySymbols(A), (Symbol as any).metadata);\n",
    "module": "import * as os from 'node:os';\nexport const x = 1;\nconsole.log(typeof os.EOL, typeof require, import.meta.url, this);\n",
    "top_level_await": "export {};\nconst n: number = await Promise.resolve(3);\nconsole.log(n);\n",
    "script": "console.log(typeof require, typeof module, __filename, __dirname, this === module.exports);\n",
    "strict_script": "(function (this: any) { console.log(this === undefined); })();\ntry { (globalThis as any).undefinedVariable.x; (eval as any)('undeclared = 1'); } catch (e: any) { console.log(e.constructor.name); }\n",
    "type_only_imports": "import type { Stats } from 'node:fs';\nimport { type EventEmitter, once } from 'node:events';\nconst s: Stats | EventEmitter | null = null;\nconsole.log(typeof once, s);\n",
    "unused_import": "import { readFileSync } from 'node:fs';\nconsole.log(1);\n",
    "throw_with_position": "interface A { b: string }\n\nclass E extends Error { constructor(private n: number) { super('n=' + n); } }\nfunction f(a: A): never {\n  throw new E(4);\n}\nf({ b: 'x' });\n",
    "throw_in_enum_code": "enum A { X }\nnamespace N { export function boom(): never {\n    throw new Error('in namespace ' + A.X); } }\nN.boom();\n",
    "rejection": "async function f() { await null; throw new TypeError('late'); }\nf();\n",
    "exit_code": "process.exitCode = 3;\nconsole.log('x');\n",
    "exit_call": "process.on('exit', (c) => console.log('listener', c));\nsetTimeout(() => process.exit(4), 1);\n",
    "exit_listeners": "process.on('exit', () => { process.exitCode = 9; });\nprocess.on('beforeExit', () => console.log('before'));\n",
    "timers": "setTimeout(() => console.log('later'), 100); setImmediate(() => console.log('immediate')); queueMicrotask(() => console.log('micro')); process.nextTick(() => console.log('tick'));\n",
    "streams": "console.log(process.stdout.isTTY, process.stdout.writable, process.stdin.isTTY, process.stderr.fd); process.stdout.write('no newline'); console.error('err');\n",
    "stdin": "let n = 0; process.stdin.on('data', (d) => { n += d.length; }).on('end', () => console.log(n));\n",
    "arguments": "console.log(process.argv, process.execArgv, process.execPath, process.cwd(), Object.keys(process.env).sort(), process.title, require.main === module, Object.keys(require.cache));\n",
    "child": "import { execFileSync, fork } from 'node:child_process';\nconsole.log(execFileSync(process.execPath, ['-p', 'JSON.stringify([process.execArgv, process.env.CELLBLOCK_GATE])']).toString());\n",
    "worker": "import { Worker, isMainThread } from 'node:worker_threads';\nif (isMainThread) new Worker(`console.log('worker', process.argv.length)`, { eval: true });\n",
    "descriptors": "import { readdirSync } from 'node:fs';\nconsole.log(readdirSync('/work').sort(), process.pid);\n",
    "handles": "import { readFileSync } from 'node:fs';\nconst flags = (n: number) => readFileSync(`/proc/self/fdinfo/${n}`, 'utf8').split('\\n')[1];\nconsole.error((process as any)._getActiveHandles().length, process.getActiveResourcesInfo(), flags(1), flags(2));\n",
    "import_then_write": "import { writeSync } from 'node:fs';\nfor (let n = 0; n < 300; n++) writeSync(1, 'x'.repeat(1000));\n",
    "module_order": "import { setImmediate as later } from 'node:timers/promises';\nsetTimeout(() => console.log('timer'), 100); process.nextTick(() => console.log('tick')); queueMicrotask(() => console.log('micro'));\nconsole.log(await later('immediate'), import.meta.filename, import.meta.main);\n",
    "big_output": "process.stdout.write('x'.repeat(300000)); process.stdout.write('\\nend\\n');\n",
    "heap_hog": "const a: number[][] = []; for (;;) a.push(new Array(100000).fill(1));\n",
    "abort": "process.abort();\n",
    "self_kill": "process.kill(process.pid, 'SIGTERM'); setTimeout(() => {}, 1000);\n",
    "generics": "type Deep<T> = { [K in keyof T]: T[K] extends object ? Deep<T[K]> : T[K] };\nconst v: Deep<{ a: { b: number } }> = { a: { b: 'x' } };\nfunction pick<T, K extends keyof T>(t: T, k: K): T[K] { return t[k]; }\npick({ a: 1 }, 'b');\n",
    "satisfies": "const c = { a: 1, b: 'x' } satisfies Record<string, number>;\n",
    "directive_comments": "// @ts-expect-error\nconst a: number = 1;\n// @ts-ignore\nconst b: number = 'x';\n",
    "no_check_comment": "// @ts-nocheck\nconst b: number = 'x';\nconsole.log(b);\n",
    "import_assignment": "import fs = require('fs');\nconsole.log(typeof fs);\n",
    "json": "const text = JSON.stringify({ a: [1, 2, { b: null }] });\nconsole.log(text, /(?<y>\\d+)/u.exec('a12')?.groups?.y);\n",
    "bigint_and_using": "console.log(2n ** 64n);\n{ using r = { [Symbol.dispose]() { console.log('disposed'); } }; console.log(typeof r); }\n",
    "unchecked": "abstract class A { abstract f(): void }\nnew A();\n",
}  # fmt: skip


@pytest.fixture(scope="module")
def cold(tmp_path_factory: pytest.TempPathFactory) -> collections.abc.Iterator[Server]:
    """No service, nothing preloaded: tsc and node as commands."""
    folder = tmp_path_factory.mktemp("cold")
    text = (SHIPPED / "typescript.toml").read_text()
    head, _, rest = text.partition("[service]")
    text = head + rest[rest.index("[[forbidden]]") :]
    text = (
        text.replace('"--require", "/cellblock/toolchain/preload.cjs",', "")
        .replace('"/usr/bin/env", "-C", "/", ', "")
        .replace('warm = "preload"\n', "")
    )
    assert "[service]" not in text and 'preload.cjs",' not in text
    shutil.copytree(SHIPPED / "typescript", folder / "typescript")
    (folder / "typescript.toml").write_text(text)
    with Server(toolchain_folders=[str(readable(folder))]) as server:
        yield server


def facts(server: Server, code: str, **fields: Any) -> dict[str, Any]:
    answer = server.execute("typescript", code, stdin="one\ntwo\n", args=["a", "b c"], **fields)
    return {name: answer[name] for name in COMPARED}


@pytest.fixture(scope="module")
def warm(cellblock: Server) -> Server:
    posture.take(cellblock)  # with the service ready
    return cellblock


@pytest.mark.parametrize("name", PROGRAMS)
def test_warm_is_like_tsc_and_node(warm: Server, cold: Server, name: str) -> None:
    assert facts(warm, PROGRAMS[name]) == facts(cold, PROGRAMS[name])


@pytest.mark.parametrize("name", ["type_error", "namespace_and_enum", "decorators", "module", "syntax"])
def test_unchecked_is_alike_too(warm: Server, cold: Server, name: str) -> None:
    assert facts(warm, PROGRAMS[name], check=False) == facts(cold, PROGRAMS[name], check=False)


@pytest.mark.threat("C2")
def test_nothing_leaks_from_one_check_to_the_next(warm: Server) -> None:
    """Neither globals nor augmentations nor the text itself."""
    first = "interface Shared { secret: 'leaked' }\ndeclare var leaked: Shared;\ninterface Array<T> { extra(): T }\nvar mine = 1;\nconsole.log(typeof mine);\n"
    assert facts(warm, first)["stdout"] == "number\n"
    for probe in ("const s: Shared = 1 as any;", "leaked;", "[1].extra();", "mine;"):
        assert facts(warm, probe)["reason"] == "compile_error", probe


@pytest.mark.slow
def test_a_check_that_takes_too_long_is_ended_and_others_go_on(warm: Server) -> None:
    """The service is replaced, and the compile step says what it has to say within its own limit."""
    endless = (
        "type Grow<T extends any[], N extends number> = T['length'] extends N ? T : Grow<[...T, 1], N>;\n"
        "type P<S extends string> = S | `${S}a${S}` | `b${S}`;\n"
        "type Q<T> = T extends string ? P<P<P<P<T>>>> : never;\n"
        "type D = '0'|'1'|'2'|'3'|'4'|'5'|'6'|'7'|'8'|'9';\n"
        "function f(x: `${D}${D}${D}${D}`, y: `${D}${D}${D}${D}`): `${D}${D}${D}${D}` { return x as any as `${D}${D}${D}${D}` & `${D}${D}${D}${D}${D}`; }\n"
        "type Slow<A extends number[]> = A['length'] extends 900 ? 1 : Slow<[...A, 1]> extends infer R ? R : 0;\n"
        "const v: Slow<[]> = 1;\n" + "".join(f"const w{n}: Grow<[], {900 + n}>['length'] = {n};\n" for n in range(80))
    )
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        slow = pool.submit(warm.execute, "typescript", endless)
        assert facts(warm, "console.log('meanwhile')")["stdout"] == "meanwhile\n"
        assert slow.result()["reason"] == "compile_error"
    until(lambda: posture.is_at_rest(warm), START_S, "the service is back")
    assert facts(warm, "console.log('after')")["stdout"] == "after\n"


def test_a_service_that_is_killed_comes_back_and_nobody_notices(warm: Server) -> None:
    services = [line for line in posture.jail_processes(warm) if "tsc" in line]
    assert services
    os.kill(int(services[0].split()[0]), signal.SIGKILL)
    assert facts(warm, "console.log('still')")["stdout"] == "still\n"
    until(lambda: posture.is_at_rest(warm), START_S, "the service is back")
