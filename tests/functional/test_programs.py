"""tests/programs/<toolchain>/<ending>.<extension>: each bad ending, in each language, is told as what it is.

A new toolchain is tested by adding its folder; a new file in toolchains/ is tested by its own self-test below.
"""

import hashlib
import pathlib
import tomllib

import pytest

from tests.server import IS_EMULATED, SLACK_S, Server

ROOT = pathlib.Path(__file__).parents[2]
PROGRAMS = sorted((ROOT / "tests" / "programs").glob("*/*.*"))
TOOLCHAINS = sorted((ROOT / "toolchains").glob("*.toml"))
TIMEOUT_S = 1.0
LONG_S = 60 if IS_EMULATED else 20  # the other limits are met first
REASONS = {
    "busy_loop": "time_limit",
    "sleeper": "time_limit",
    "memory_hog": "memory_limit",
    "fork_bomb": "time_limit",
    "output_flood": "output_limit",
    "runtime_failure": "exited",
    "compile_error": "compile_error",
}


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            path, id=f"{path.parent.name}-{path.stem}", marks=[pytest.mark.vm] if path.parent.name != "python" else []
        )
        for path in PROGRAMS  # Python's endings are in test_limits.py, marked there
    ],
)
def test_a_bad_program_ends_as_its_name_says(cellblock: Server, path: pathlib.Path) -> None:
    """At a time limit the client has its answer within 100 ms of it; it was compiled before."""
    language, code, reason = path.parent.name, path.read_text(), REASONS[path.stem]
    if reason == "time_limit":
        cellblock.execute(language, code, timeout=0.05)
    answer, took_s = cellblock.execute_timed(language, code, timeout=TIMEOUT_S if reason == "time_limit" else LONG_S)
    if path.stem == "fork_bomb" and answer["reason"] == "memory_limit":
        return  # processes of a runtime of 40 MB meet the memory limit before the wall limit
    assert answer["reason"] == reason, answer
    assert answer["success"] is False
    if answer["reason"] == "time_limit":
        assert TIMEOUT_S <= took_s < TIMEOUT_S + SLACK_S


@pytest.mark.parametrize("path", TOOLCHAINS, ids=lambda path: path.stem)
def test_a_toolchains_own_program_prints_what_its_file_says(cellblock: Server, path: pathlib.Path) -> None:
    test = tomllib.loads(path.read_text())["self_test"]
    answer = cellblock.execute(path.stem, test["code"])
    assert (answer["output"], answer["error"], answer["success"]) == (test["output"], None, True)


@pytest.mark.parametrize("path", TOOLCHAINS, ids=lambda path: path.stem)
def test_every_alias_in_any_case_names_its_language(cellblock: Server, path: pathlib.Path) -> None:
    toolchain = tomllib.loads(path.read_text())
    for name in [path.stem, *toolchain["aliases"]]:
        answer = cellblock.execute(name.upper(), toolchain["self_test"]["code"])
        assert answer["language"] == path.stem
        assert any(character.isdigit() for character in answer["version"])


def test_a_python_traceback_has_the_line(cellblock: Server) -> None:
    answer = cellblock.execute("python", "def f():\n    return 1 / 0\n\nf()\n")
    assert 'File "/work/main.py", line 2, in f\n    return 1 / 0' in answer["error"]


def test_a_python_module_guard_and_arguments_are_as_on_the_host(cellblock: Server) -> None:
    code = "import sys\nif __name__ == '__main__': print(sys.argv, __file__, sys.flags.isolated)"
    answer = cellblock.execute("python", code, args=["one", "--two", "drei vier", "ünf"])
    assert answer["output"] == "['main.py', 'one', '--two', 'drei vier', 'ünf'] /work/main.py 0\n"


def test_python_runs_its_exit_handlers_and_flushes(cellblock: Server) -> None:
    code = "import atexit, sys\natexit.register(lambda: print('bye'))\nsys.stdout.write('no newline ')"
    assert cellblock.execute("python", code)["output"] == "no newline bye\n"


def test_python_threads_subprocesses_and_multiprocessing_work(cellblock: Server) -> None:
    code = (
        "import multiprocessing, subprocess, sys, threading\n"
        "def square(n): return n * n\n"
        "if __name__ == '__main__':\n"
        "    thread = threading.Thread(target=print, args=('thread',), kwargs={'flush': True}); thread.start(); thread.join()\n"
        "    print(subprocess.run([sys.executable, '-c', 'print(\"child\")'], capture_output=True, text=True).stdout.strip())\n"
        "    with multiprocessing.Pool(2) as pool: print(pool.map(square, range(4)))\n"
    )
    answer = cellblock.execute("python", code)
    assert answer["output"] == "thread\nchild\n[0, 1, 4, 9]\n", answer


def test_a_typescript_error_is_told_as_tsc_tells_it(cellblock: Server) -> None:
    answer = cellblock.execute("typescript", "const x: number = 'a';\nconsole.log(x);\n")
    assert answer["reason"] == "compile_error"
    assert answer["error"] == "main.ts(1,7): error TS2322: Type 'string' is not assignable to type 'number'.\n"


def test_a_typescript_error_does_not_stop_who_turned_checking_off(cellblock: Server) -> None:
    answer = cellblock.execute("typescript", "const x: number = 'a' as any as string;\nconsole.log(x);\n", check=False)
    assert answer["output"] == "a\n"


def test_typescript_is_the_whole_language(cellblock: Server) -> None:
    code = """
enum Color { Red = 1, Green }
namespace Shapes { export const sides = (n: number) => n * 2; }
function twice<T extends (...a: any[]) => number>(f: T, _: ClassMethodDecoratorContext) {
  return function (this: unknown, ...a: any[]): number { return 2 * f.apply(this, a); } as T;
}
class Point { constructor(private readonly x: number) {} @twice size(): number { return this.x; } }
console.log(Color.Green, Color[1], Shapes.sides(3), new Point(4).size());
"""
    assert cellblock.execute("typescript", code)["output"] == "2 Red 6 8\n"


def test_top_level_await_works_in_a_module_and_require_in_a_script(cellblock: Server) -> None:
    module = (
        "import { EOL } from 'node:os';\nconst n: number = await Promise.resolve(5);\nprocess.stdout.write(n + EOL);"
    )
    assert cellblock.execute("typescript", module)["output"] == "5\n"
    script = "const os = require('os');\nprocess.stdout.write(6 + os.EOL);"
    assert cellblock.execute("typescript", script)["output"] == "6\n"


def test_typescript_reads_its_standard_input_both_ways(cellblock: Server) -> None:
    event = "let n = 0;\nprocess.stdin.on('data', (d: Buffer) => { n += d.length; }).on('end', () => console.log(n));"
    assert cellblock.execute("typescript", event, stdin="x" * 100_000)["output"] == "100000\n"
    whole = "import { readFileSync } from 'fs';\nconsole.log(readFileSync('/dev/stdin', 'utf8').trim().length);"
    assert cellblock.execute("typescript", whole, stdin="y" * 100_000)["output"] == "100000\n"


def test_a_typescript_stack_trace_shows_lines_of_the_source(cellblock: Server) -> None:
    code = "interface A { b: string }\n\nenum E { X }\nfunction fail(): never {\n  throw new Error('boom ' + E.X);\n}\nfail();\n"
    answer = cellblock.execute("typescript", code)
    assert "main.ts:5" in answer["error"]
    assert "Error: boom 0" in answer["error"]


def test_a_rust_error_and_a_panic_name_main_rs(cellblock: Server) -> None:
    wrong = cellblock.execute("rust", 'fn main() { let x: i32 = "a"; }')
    assert wrong["reason"] == "compile_error"
    assert "error[E0308]: mismatched types\n --> main.rs:1:26" in wrong["error"]
    panic = cellblock.execute("rust", 'fn main() {\n    let v: Vec<i32> = vec![];\n    println!("{}", v[7]);\n}')
    assert (panic["reason"], panic["exit_code"]) == ("exited", 101)
    assert "main.rs:3:" in panic["error"]


def test_ten_megabytes_of_input_arrive_whole(cellblock: Server) -> None:
    code = "import hashlib, sys\ndata = sys.stdin.buffer.read()\nprint(len(data), hashlib.sha256(data).hexdigest()[:8])"
    data = "0123456789abcdef" * (10 << 16)
    answer = cellblock.execute("python", code, stdin=data)
    assert answer["output"] == f"10485760 {hashlib.sha256(data.encode()).hexdigest()[:8]}\n"


def test_sixty_four_kilobytes_of_source_are_fine(cellblock: Server) -> None:
    code = "#" * (65536 - len("\nprint(1)\n")) + "\nprint(1)\n"
    assert len(code) == 65536
    assert cellblock.execute("python", code)["output"] == "1\n"


def test_what_is_compiled_is_not_charged_to_the_program(cellblock: Server) -> None:
    answer = cellblock.execute("rust", 'fn main() { println!("quick"); }')
    assert answer["compile_time"] > answer["wall_time"] > 0
    assert answer["execution_time"] == pytest.approx(answer["compile_time"] + answer["wall_time"])
    assert answer["cpu_time"] < answer["compile_time"] or IS_EMULATED
