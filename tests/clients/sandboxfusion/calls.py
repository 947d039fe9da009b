"""What the SDK is asked, in its own virtual environment: `python calls.py URL` prints what it answered, as JSON."""

import asyncio
import base64
import json
import sys

from sandbox_fusion import (
    RunCodeRequest,
    SummaryMapping,
    run_code,
    run_code_async,
    run_concurrent,
    set_sandbox_endpoint,
    summary_run_code_result,
)

MAPPING = SummaryMapping(CompileFailed="CF", CompileTimeout="CT", RunFailed="RF", RunTimeout="RT")
CASES = {
    "python": {"language": "python", "code": "print(input())", "stdin": "hello"},
    "cpp": {"language": "cpp", "code": '#include <cstdio>\nint main() { puts("hello"); }'},
    "java": {"language": "java", "code": 'public class Main { public static void main(String[] a) { System.out.println("hello"); } }'},
    "nodejs": {"language": "nodejs", "code": "console.log('hello')"},
    "typescript": {"language": "typescript", "code": "const word: number = 'hello' as any; console.log(word)"},
    "go": {"language": "go", "code": 'package main\nimport "fmt"\nfunc main() { fmt.Println("hello") }'},
    "rust": {"language": "rust", "code": 'fn main() { println!("hello"); }'},
    "bash": {"language": "bash", "code": "echo hello"},
    "fails": {"language": "python", "code": "raise SystemExit(3)"},
    "raises": {"language": "python", "code": "1 / 0"},
    "does not compile": {"language": "cpp", "code": "int main() {"},
    "is too slow": {"language": "python", "code": "while True: pass", "run_timeout": 0.5},
    "compiles too slowly": {"language": "cpp", "code": "#include <regex>\nstd::regex r(\"a\"); int main() {}", "compile_timeout": 0.05},
    "files": {
        "language": "python",
        "code": "open('out/b', 'wb').write(open('in/a', 'rb').read()[::-1])",
        "files": {"in/a": base64.b64encode(bytes(range(256))).decode(), "out/none": "", "null": None},
        "fetch_files": ["out/b", "missing"],
    },
    "is forbidden": {"language": "python", "code": "import socket; socket.create_connection(('example.org', 80))"},
}  # fmt: skip


def told(answer):
    return {**json.loads(answer.json()), "summary": summary_run_code_result(answer, MAPPING)}


def main(url: str) -> None:
    set_sandbox_endpoint(url)
    found = {name: told(run_code(RunCodeRequest(**fields), max_attempts=1)) for name, fields in CASES.items()}

    async def one() -> None:
        answer = await run_code_async(RunCodeRequest(**CASES["python"]), max_attempts=1)
        found["async"] = told(answer)

    asyncio.run(one())
    many = [[RunCodeRequest(code=f"print({number})", language="python")] for number in range(200)]
    answers = run_concurrent(run_code, args=many, kwargs=[{"max_attempts": 1}] * len(many), concurrency=64)
    found["many"] = [answer.run_result.stdout for answer in answers]
    try:
        run_code(RunCodeRequest(code="", language="perl"), max_attempts=1)
    except Exception as error:
        found["unknown"] = str(error)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
