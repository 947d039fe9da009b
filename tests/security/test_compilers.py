"""Sources that use the compiler against its host or its time end with a reason, and change nothing for the next source."""

import concurrent.futures
from typing import Any

import pytest

from tests.server import Server

RUST = {  # a source, and what its compile error says
    "path": ('#[path = "/etc/shadow"]\nmod leak;\nfn main() {}', "couldn't read"),
    "incbin": (
        'std::arch::global_asm!(".section .rodata\\nleak: .incbin \\"/etc/shadow\\"");\nfn main() {}',
        "Could not find incbin file '/etc/shadow'",
    ),
    "array": (
        'static HUGE: [u8; 1 << 60] = [0; 1 << 60];\nfn main() { println!("{}", HUGE[3]); }',
        "HUGE",
    ),
    "types": (
        "fn grow<T>(n: u32, value: T) { if n > 0 { grow(n - 1, (value,)) } }\nfn main() { grow(5, 1) }",
        "recursion limit",
    ),
}
RUST_BOMBS = {
    "tokens": (
        "macro_rules! double { ($($t:tt)*) => { double!($($t)* $($t)*); } }\ndouble!(x);\nfn main() {}",
        "exceeded its memory limit of 1024 MB",
    ),
    "nesting": (
        '#![recursion_limit = "100000"]\nmacro_rules! nest { ($($t:tt)*) => { nest!(($($t)*)) } }\nfn main() { nest!(x) }',
        "",  # newer compilers tell of their stack, older ones die of it
    ),
    "constant": (
        'const ENDLESS: u64 = { let mut n = 0u64; loop { n = n.wrapping_add(1); if n == u64::MAX { break n } } };\nfn main() { println!("{}", ENDLESS); }',
        "ENDLESS",
    ),
}
TYPESCRIPT = {
    "recursive type": (
        "type Grow<T> = T extends unknown ? Grow<[T]> : never;\nconst x: Grow<1> = 1;",
        "TS2589",
    ),
    "union": (
        "type D = 0|1|2|3|4|5|6|7|8|9;\nconst x: `${D}${D}${D}${D}${D}${D}` = '1';",
        "TS2590",
    ),
    "reference path": (
        '/// <reference path="/etc/shadow" />\n/// <reference path="/proc/self/environ" />',
        "TS6231: Could not resolve the path '/etc/shadow'",
    ),
    "reference types": ('/// <reference types="/etc/shadow" />', "TS2688"),
    "JSON": (
        'import data from "/etc/passwd.json";\nconsole.log(data);',
        "TS2307: Cannot find module '/etc/passwd.json'",
    ),
}
TYPESCRIPT_BOMBS = {
    "tuple": (
        "type Deep<N, A extends 0[] = []> = A['length'] extends N ? A : Deep<N, [...A, 0]>;\nconst x: Deep<5000> = 1;",
        "TS2589",
    ),
}


def answers(server: Server, language: str, sources: dict[str, tuple[str, str]]) -> dict[str, dict[str, Any]]:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda source: server.execute(language, source[0]), sources.values())
        return dict(zip(sources, found, strict=True))


@pytest.mark.threat("C1", "C2")
@pytest.mark.parametrize(
    ("language", "sources"),
    [
        ("rust", RUST),
        pytest.param("rust", RUST_BOMBS, marks=pytest.mark.slow),
        ("typescript", TYPESCRIPT),
        pytest.param("typescript", TYPESCRIPT_BOMBS, marks=pytest.mark.slow),
    ],
    ids=["rust", "rust bombs", "typescript", "typescript bombs"],
)
def test_a_source_that_attacks_its_compiler_is_a_compile_error_with_its_reason(
    cellblock: Server, language: str, sources: dict[str, tuple[str, str]]
) -> None:
    for name, answer in answers(cellblock, language, sources).items():
        assert answer["reason"] == "compile_error", (name, answer)
        assert sources[name][1] in answer["error"], (name, answer["error"])


@pytest.mark.threat("C1")
def test_the_compilers_environment_is_the_toolchain_files_alone(cellblock: Server) -> None:
    code = 'fn main() { print!("{}", String::from_utf8_lossy(include_bytes!("/proc/self/environ")).replace("\\0", "\\n")); }'
    names = [line.split("=")[0] for line in cellblock.execute("rust", code)["output"].splitlines()]
    of_rust_toml = ["UNSTABLE_RUSTDOC_TEST_PATH", "UNSTABLE_RUSTDOC_TEST_LINE", "MALLOC_CONF"]
    assert names == ["PATH", "HOME", "LANG", "TZ", *of_rust_toml]


@pytest.mark.threat("C2", "C5")
@pytest.mark.parametrize(
    ("language", "code", "files"),
    [
        ("python", "print('plain')", {
            "sitecustomize.py": "print('steered')", "usercustomize.py": "print('steered')", "steer.pth": "import steered",
            "pyvenv.cfg": "home = /tmp", "encodings.py": "steered", ".pythonrc.py": "print('steered')",
        }),
        ("rust", 'fn main() { println!("plain"); }', {
            ".cargo/config.toml": '[build]\nrustflags = ["-Clinker=/work/steered"]', "build.rs": "steered",
            "rust-toolchain.toml": '[toolchain]\nchannel = "steered"', "Cargo.toml": "steered",
        }),
        ("typescript", "const plain: string = 'plain';\nconsole.log(plain);", {
            "tsconfig.json": '{"include": ["/**/*"], "compilerOptions": {"outDir": "/usr", "rootDir": "/", "noEmit": true}}',
            ".npmrc": "prefix=/work", ".swcrc": "steered", "node_modules/@types/node/index.d.ts": "steered",
        }),
    ],
    ids=["python", "rust", "typescript"],
)  # fmt: skip
def test_files_that_would_steer_a_tool_do_not_outlive_their_submission(
    cellblock: Server, language: str, code: str, files: dict[str, str]
) -> None:
    """What they do to their own submission is its affair; the same source without them is as it was before."""
    before = cellblock.execute(language, code)
    sent = [{"name": name, "content": content} for name, content in files.items()]
    steered = cellblock.execute(language, code, files=sent)
    assert steered["output"] in ("plain\n", ""), steered
    after = cellblock.execute(language, code)
    assert before["output"] == after["output"] == "plain\n"
    assert before["error"] is after["error"] is None


@pytest.mark.threat("C2")
def test_a_configuration_that_names_a_host_file_finds_none(cellblock: Server) -> None:
    files = [{"name": "tsconfig.json", "content": '{"extends": "/etc/shadow"}'}]
    answer = cellblock.execute("typescript", "console.log(1);", files=files)
    assert answer["error"] == "tsconfig.json(1,13): error TS6053: File '/etc/shadow' not found.\n"


@pytest.mark.threat("C3")
def test_a_python_source_that_is_hard_to_parse_is_its_own_failure(cellblock: Server) -> None:
    """Deep nesting, coding cookies (PEP 263) and a literal of 10 MB; the daemon itself parses none of them."""
    sources = [
        "print(" + "(" * 30000 + ")" * 30000 + ")",
        "x = " + "-" * 60000 + "1",
        "# -*- coding: rot13 -*-\ncevag(1)",
        "# -*- coding: steered -*-\nprint(1)",
        "import large_number",
    ]
    files = [{"name": "large_number.py", "content": "x = " + "9" * (1 << 20)}]
    for code in sources:
        answer = cellblock.execute("python", code, files=files if "large" in code else [])
        assert (answer["reason"], answer["exit_code"]) == ("exited", 1), code[:40]
        assert answer["error"].splitlines()[-1].startswith(("SyntaxError", "MemoryError", "RecursionError")), code[:40]
    large = [{"name": "large.py", "content": f"text = '{'a' * (10 << 20)}'"}]
    assert cellblock.execute("python", "import large\nprint(len(large.text))", files=large)["output"] == "10485760\n"
