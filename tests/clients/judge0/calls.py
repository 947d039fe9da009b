"""What the SDK is asked, in its own virtual environment: `python calls.py URL` prints what it answered, as JSON."""

import json
import os
import sys
from typing import Any

base = sys.argv[1]
for flavour, path in (("CE", "judge0"), ("EXTRA_CE", "judge0-extra")):
    os.environ[f"JUDGE0_{flavour}_ENDPOINT"] = f"{base}/{path}"
    os.environ[f"JUDGE0_{flavour}_AUTH_HEADERS"] = "{}"

import judge0  # noqa: E402 (it reads those)

GREET = "name = input()\nprint(f'Hello, {name}!')"


def told(one: judge0.Submission) -> dict[str, Any]:
    return {
        "status": int(one.status),
        "stdout": one.stdout,
        "stderr": one.stderr,
        "compile": one.compile_output,
        "time": one.time,
    }


by_flavour = judge0.get_client()
cases = [judge0.TestCase("Bob", "Hello, Bob!\n"), judge0.TestCase("Eve", "Hello, Adam!\n")]
pending = judge0.async_run(source_code=GREET, stdin="later", client=by_flavour, language=judge0.LanguageAlias.PYTHON)
found = {
    "hello": told(judge0.run(source_code="print('hello')")),
    "stdin": told(judge0.run(source_code=GREET, stdin="you", client=by_flavour, language=judge0.LanguageAlias.PYTHON)),
    "later": told(judge0.wait(submissions=pending)),
    "c++": told(judge0.run(
        source_code='#include <cstdio>\nint main() { puts("hello"); }', client=by_flavour, language=judge0.LanguageAlias.CPP_GCC
    )),
    "does not compile": told(judge0.run(
        source_code="int main() {", client=by_flavour, language=judge0.LanguageAlias.CPP_GCC
    )),
    "fails": told(judge0.run(source_code="raise SystemExit(3)", client=by_flavour, language=judge0.LanguageAlias.PYTHON)),
    "cases": [
        told(one) for one in judge0.run(
            source_code=GREET, test_cases=cases, client=by_flavour, language=judge0.LanguageAlias.PYTHON
        )
    ],
    "files": told(judge0.run(submissions=judge0.Submission(
        source_code="print(open('data.txt').read())", language=judge0.LanguageAlias.PYTHON,
        additional_files=judge0.Filesystem(content=[judge0.File(name="data.txt", content="from a file")]),
    ), client=by_flavour)),
    "too slow": told(judge0.run(submissions=judge0.Submission(
        source_code="while True: pass", language=judge0.LanguageAlias.PYTHON, cpu_time_limit=0.5
    ), client=by_flavour)),
}  # fmt: skip
print(json.dumps(found))
