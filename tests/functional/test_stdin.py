"""Standard input is what `program < input` has on a contest machine: a regular file with a size, an offset and pages."""

import pytest

from tests.functional.test_grade import grade, verdicts
from tests.functional.test_interaction import verdict
from tests.server import Server

MB = 1 << 20

RUST = """use std::{fs::File, io::*, os::fd::FromRawFd};
extern "C" { fn mmap(at: *mut u8, bytes: usize, protection: i32, flags: i32, file: i32, offset: i64) -> *mut u8; }
fn main() { BODY }
"""
SUM_ALL = ".split_ascii_whitespace().map(|word| word.parse::<i64>().unwrap()).sum::<i64>()"
READS = {
    "python os.read": "import io, os\nprint(sum(map(int, io.BytesIO(os.read(0, os.fstat(0).st_size)).read().split())))",
    "python mmap": "import mmap\nwith mmap.mmap(0, 0, access=mmap.ACCESS_READ) as given: print(sum(map(int, given[:].split())))",
    "python seek": "import sys\nsys.stdin.read()\nsys.stdin.seek(0)\nprint(sum(map(int, sys.stdin.read().split())))",
    "python tell": "import sys\nassert sys.stdin.buffer.tell() == 0 and sys.stdin.seekable()\nfirst = sys.stdin.buffer.readline()\n"
    "assert sys.stdin.buffer.tell() == len(first)\nsys.stdin.buffer.seek(0)\nprint(sum(map(int, sys.stdin.buffer.read().split())))",
    "python /dev/stdin": "for _ in range(2): total = sum(map(int, open('/dev/stdin').read().split()))\nprint(total)",
    "python child": "import subprocess, sys\nprint(sum(map(int, subprocess.run(['/bin/cat'], capture_output=True).stdout.split())))",
    "rust mmap": RUST.replace("BODY", """
        let file = unsafe { File::from_raw_fd(0) };
        let bytes = file.metadata().unwrap().len() as usize;
        let pages = unsafe { mmap(std::ptr::null_mut(), bytes, 1, 2, 0, 0) };
        assert!(pages as isize != -1);
        let text = std::str::from_utf8(unsafe { std::slice::from_raw_parts(pages, bytes) }).unwrap();
        println!("{}", textSUM);""".replace("SUM", SUM_ALL)),
    "rust seek": RUST.replace("BODY", """
        let (mut file, mut text) = (unsafe { File::from_raw_fd(0) }, String::new());
        file.read_to_string(&mut text).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        text.clear();
        file.read_to_string(&mut text).unwrap();
        println!("{}", textSUM);""".replace("SUM", SUM_ALL)),
    "typescript size": "import { fstatSync, readSync } from 'node:fs';\nconst all = Buffer.alloc(fstatSync(0).size);\n"
    "readSync(0, all, 0, all.length, 0);\nconsole.log(String(all).trim().split(/\\s+/).map(Number).reduce((a, b) => a + b));",
    "typescript /dev/stdin": "import { readFileSync } from 'node:fs';\nconst twice = [0, 1].map(() => readFileSync('/dev/stdin', 'utf8'));\n"
    "console.log(twice[1]!.trim().split(/\\s+/).map(Number).reduce((a, b) => a + b));",
    "typescript events": "let text = '';\nprocess.stdin.on('data', (part) => { text += part; }).on('end', () => {\n"
    "console.log(text.trim().split(/\\s+/).map(Number).reduce((a, b) => a + b)); });",
}  # fmt: skip
TESTS = [{"input": "\n".join(map(str, range(n))) + "\n", "expected": str(n * (n - 1) // 2)} for n in (2, 999, 30_000)]


@pytest.mark.parametrize("language", ["python", "rust", "typescript"])
def test_it_is_read_in_every_way_of_a_file(cellblock: Server, language: str) -> None:
    """Of several tests at once, each from its own beginning."""
    for program in (program for program in READS if program.startswith(language)):
        result = grade(cellblock, READS[program], language, tests=TESTS)
        assert verdicts(result) == ["AC"] * len(TESTS), (program, result)


@pytest.mark.vm
def test_that_of_execute_is_one_too_and_its_pages_are_not_the_programs_memory(cellblock: Server) -> None:
    """They belong to whoever made it, however a program maps and reads them."""
    code = "import os, stat, sys\nfound = os.fstat(0)\nprint(stat.S_ISREG(found.st_mode), found.st_size, repr(sys.stdin.read()))"
    for given in ("", "zwölf\n"):
        assert cellblock.execute("python", code, stdin=given)["output"] == f"True {len(given.encode())} {given!r}\n"
    code = "import mmap\ngiven = mmap.mmap(0, 0, access=mmap.ACCESS_READ)\nprint(sum(given[at] for at in range(0, len(given), 4096)))"
    size = 8 * MB
    answer = cellblock.execute("python", code, stdin="1" * size)
    assert answer["output"] == f"{ord('1') * (size // 4096)}\n"
    assert answer["memory_bytes"] < size


def test_a_program_that_talks_has_a_pipe(cellblock: Server) -> None:
    code = "import os, stat\nprint(stat.S_ISFIFO(os.fstat(0).st_mode), flush=True)"
    judge = "import sys\nsys.exit(42 if sys.stdin.readline() == 'True\\n' else 43)"
    assert verdict(cellblock, judge, "\n", code)[0] == "AC"
