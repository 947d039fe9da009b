"""What ultra-piston is asked to do, and what it says of it, as JSON. Arguments: URL of the API, and a key."""

import asyncio
import json
import sys

import ultra_piston
from ultra_piston import File, PistonClient
from ultra_piston.errors import ServerError

client = PistonClient(base_url=sys.argv[1], api_key=sys.argv[2], rate_limit=0)
PROGRAMS = {
    "python": "print('hello')",
    "c++": '#include <iostream>\nint main() { std::cout << "hello\\n"; }',
    "rust": 'fn main() { println!("hello"); }',
    "typescript": "const text: string = 'hello'; console.log(text);",
    "java": 'class Main { public static void main(String[] a) { System.out.println("hello"); } }',
    "go": 'package main\nimport "fmt"\nfunc main() { fmt.Println("hello") }',
    "bash": "echo hello",
    "javascript": "console.log('hello')",
}


def run(language: str, code: str, version: str = "*", **fields: object) -> object:
    try:
        return client.post_execute(language, version, File(content=code), **fields).model_dump()
    except ServerError as error:
        return {"status": error.status_code}


async def alongside() -> object:
    return (await client.post_execute_async("py", "3.x", File(content="print(input())"), stdin="hello")).model_dump()


print(json.dumps({
    "version": ultra_piston.__version__,
    "runtimes": [one.model_dump() for one in client.get_runtimes()],
    "packages": [one.model_dump() for one in client.get_packages()],
    "hello": {language: run(language, code) for language, code in PROGRAMS.items()},
    "async": asyncio.run(alongside()),
    "arguments": run("python", "import sys; print(sys.argv[1:])", args=["a", "b c"]),
    "fails": run("python", "import sys; print('no', file=sys.stderr); sys.exit(3)"),
    "is too slow": run("python", "import time; time.sleep(9)", run_timeout=200),
    "does not compile": run("rust", "fn main() { x }"),
    "unknown": run("cobol", "x"),
    "too much": run("python", "1", run_timeout=10**9),
}))  # fmt: skip
