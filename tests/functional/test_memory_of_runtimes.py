"""A program gets the verdict that it would get outside of any jail under the same memory limit, or a better one.

A runtime with a garbage collector decides by itself how much it lets lie. A jail's limit must not make it die of that.
"""

import os
import pathlib
import subprocess

import pytest

from daemon.host import cgroup
from daemon.sandbox.model import Limits
from tests.server import PREFIX, Server

TOOLCHAINS = PREFIX / "toolchains"
COMMANDS = {
    "python": ("main.py", [], ["/usr/bin/python3", "main.py"]),
    "typescript": (
        "main.ts",
        [str(TOOLCHAINS / "typescript/usr/lib/typescript/tsc"), "--noCheck", "--target", "es2025", "main.ts"],
        [str(TOOLCHAINS / "typescript/usr/bin/node"), "main.js"],
    ),
    "rust": ("main.rs", [str(TOOLCHAINS / "rust/usr/bin/rustc"), "-O", "main.rs"], ["./main"]),
}
PROGRAMS = {
    "python": {
        "much garbage": "kept = list(range(100_000))\ns = 0\nfor i in range(500_000):\n    o = [i, (i, str(i))]\n    s += o[1][0]\nprint(s)",
        "20 MB kept": "kept = [bytearray(1 << 20) for _ in range(20)]\nprint(len(kept))",
        "90 MB kept": "kept = [bytearray(1 << 20) for _ in range(90)]\nprint(len(kept))",
    },
    "typescript": {
        "much garbage": "const kept: number[] = new Array(500000).fill(1.5);\nlet s = 0;\nfor (let i = 0; i < 20000000; i++) { const o = { a: i, b: [i] }; s += o.b[0]! + kept[i % 1000]!; }\nconsole.log(s);",
        "trees": "type T = { l: T | null; r: T | null };\nconst make = (d: number): T => d ? { l: make(d - 1), r: make(d - 1) } : { l: null, r: null };\nlet n = 0;\nfor (let i = 0; i < 60; i++) if (make(14).l) n++;\nconsole.log(n);",
        "strings": "let s = 0;\nfor (let i = 0; i < 1000000; i++) s += ('x' + i + 'y'.repeat(i % 50)).length;\nconsole.log(s);",
        "a map": "const m = new Map<number, string>();\nfor (let i = 0; i < 600000; i++) m.set(i, 'v' + i);\nconsole.log(m.size);",
    },
    "rust": {
        "much garbage": 'fn main() {\n    let mut s = 0u64;\n    for i in 0..5_000_000u64 { let v = Box::new([i, i + 1]); s = s.wrapping_add(v[1]); std::hint::black_box(&v); }\n    println!("{s}");\n}',
        "20 MB kept": 'fn main() { let v: Vec<Vec<u8>> = (0..20).map(|_| vec![1u8; 1 << 20]).collect(); println!("{}", v.len()); }',
        "90 MB kept": 'fn main() { let v: Vec<Vec<u8>> = (0..90).map(|_| vec![1u8; 1 << 20]).collect(); println!("{}", v.len()); }',
    },
}
CASES = [pytest.param(language, name, id=f"{language}-{name}") for language in PROGRAMS for name in PROGRAMS[language]]
LIMITS_MB = (32, 64, 128, 256)


def bare(command: list[str], place: pathlib.Path, memory_mb: int) -> bool:
    """Whether the command ends well on the host in a control group with this limit and nothing else in it."""
    tree = cgroup.open_tree("bare")
    group = tree.make("program")
    try:
        group.set_limits(Limits(memory_bytes=memory_mb << 20, wall_ns=0, processes=100))
        joins = group.join_descriptors()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("NODE_")}
        shell = "".join(f"echo 0 >&{number}; exec {number}>&-; " for number in joins) + 'exec "$@"'
        process = subprocess.run(
            ["bash", "-c", shell, "bash", *command], cwd=place, env=environment, pass_fds=joins, capture_output=True
        )
        return process.returncode == 0
    finally:
        group.remove()
        for directory in tree.paths():
            cgroup.mounts.destroy(directory, 2)


@pytest.mark.parametrize(("language", "name"), CASES)
def test_what_runs_under_a_limit_on_the_host_runs_under_it_here(
    cellblock: Server, language: str, name: str, tmp_path: pathlib.Path
) -> None:
    code = PROGRAMS[language][name]
    source, compile_command, command = COMMANDS[language]
    (tmp_path / source).write_text(code)
    if compile_command:
        subprocess.run(compile_command, cwd=tmp_path, check=True)
    for memory_mb in LIMITS_MB:
        answer = cellblock.execute(language, code, memory_limit_mb=memory_mb, timeout=30)
        runs_here = answer["success"] is True
        assert runs_here or not bare(command, tmp_path, memory_mb), (memory_mb, answer)
        told = answer["reason"] == "memory_limit" or "MemoryError" in answer["stderr"]
        assert runs_here or told, answer


FLOODS = {
    "python": "while True: print('x' * 99)",
    "typescript": "for (;;) console.log('x'.repeat(99));",
    "rust": 'fn main() { loop { println!("{}", "x".repeat(99)); } }',
}


@pytest.mark.vm
@pytest.mark.parametrize("language", FLOODS)
def test_a_flood_by_the_everyday_call_is_an_output_limit(cellblock: Server, language: str) -> None:
    """Node queues in its own memory what a full pipe does not take at once."""
    answer = cellblock.execute(language, FLOODS[language], timeout=20)
    assert (answer["reason"], len(answer["stdout"])) == ("output_limit", 1 << 20)
