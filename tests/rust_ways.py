"""Programs of Rust on two servers: on one as they are compiled, on the other without toolchains/rust/compile.c.

    python -m tests.rust_ways FOLDER...     every .rs file below; a folder called `explain` is the examples of `rustc --explain`

The promise is that nobody can tell the two apart. Prints those that differ, and ends with 1 where there are any.
"""

import collections.abc
import contextlib
import itertools
import pathlib
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.server import PREFIX, Server, readable

SHIPPED = pathlib.Path(__file__).parents[1] / "toolchains" / "rust.toml"
QUICK = '"/usr/lib/cellblock/compile", '
FIELDS = ("output", "error", "success", "exit_code", "signal", "reason", "truncated")
AT_ONCE = 2
RUSTC = PREFIX / "toolchains/rust/usr/bin/rustc"
RANDOM = re.compile(r"(?<=/rustc)\w{6}(?=/)|(?<=\.long-type-)\d+")  # of names: no two runs of rustc agree in them
CODES = 806  # of rustc 1.95


@contextlib.contextmanager
def usual() -> collections.abc.Iterator[Server]:
    """A server that compiles without compile.c."""
    text = SHIPPED.read_text()
    assert text.count(QUICK) == 1
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "rust.toml").write_text(text.replace(QUICK, ""))
        readable(pathlib.Path(folder))
        with Server(toolchain_folders=[folder]) as server:
            yield server


def facts(server: Server, code: str) -> dict[str, Any]:
    """What a client can tell of a program but times and memory."""
    answer = server.post({"language": "rust", "code": code}).json
    found = {name: answer.get(name) for name in (*FIELDS, "detail")}
    return found | {"error": RANDOM.sub("", found["error"] or "")}


def examples() -> collections.abc.Iterator[tuple[str, str]]:
    """Of the errors of rustc, most of them sources that do not compile."""
    for code in range(1, CODES):
        text = subprocess.run([RUSTC, "--explain", f"E{code:04}"], capture_output=True, text=True, check=False).stdout
        for number, block in enumerate(re.findall(r"^```[^\n]*\n(.*?)^```", text, re.M | re.S)):
            plain = re.sub(r"^# ?", "", block, flags=re.M) if re.search(r"^# ", block, re.M) else block
            yield f"E{code:04}-{number}", plain
            if "fn main" not in plain:
                yield f"E{code:04}-{number}-main", plain + "\nfn main() {}\n"


def sources(folder: str) -> collections.abc.Iterator[tuple[str, str]]:
    """Name and text of each."""
    if folder == "explain":
        yield from examples()
        return
    for path in sorted(pathlib.Path(folder).rglob("*.rs")):
        with contextlib.suppress(UnicodeDecodeError):
            yield str(path), path.read_text()


def main() -> int:
    found = itertools.chain.from_iterable(sources(folder) for folder in sys.argv[1:])
    counts = {"alike": 0, "different": 0}
    with usual() as other, Server(languages=["rust"]) as quick, ThreadPoolExecutor(AT_ONCE) as pool:
        both = pool.map(lambda named: (named[0], facts(quick, named[1]), facts(other, named[1])), found)
        for name, ours, theirs in both:
            counts["alike" if ours == theirs else "different"] += 1
            if ours != theirs:
                print(f"--- {name}\nquick: {ours}\nusual: {theirs}", flush=True)
    print(counts)
    return 1 if counts["different"] else 0


if __name__ == "__main__":
    sys.exit(main())
