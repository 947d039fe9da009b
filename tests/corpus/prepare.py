"""Makes programs of their own out of collections that keep solution and test apart.

    python -m tests.corpus.prepare KIND CLONE TARGET

Nothing here knows a collection but by the shape of its folders; README.md says which kind fits which.
"""

import gzip
import json
import pathlib
import re
import sys
from collections.abc import Callable, Iterator

Programs = Iterator[tuple[str, str]]  # a name with extension, and the program

# As much of jest as the tests of exercises use.
JEST = """
import assert from "node:assert";
type Case = (...values: any[]) => any;
let failed = 0, passed = 0;
const waiting: Promise<unknown>[] = [];
const each = (run: (name: string, body: Case) => void) => (cases: readonly any[]) => (name: string, body: Case) => {
  for (const one of cases) run(name, () => (Array.isArray(one) ? body(...one) : body(one)));
};
const settle = (name: string, problem?: unknown) => {
  if (problem === undefined) { passed += 1; return; }
  failed += 1; console.log("failed:", name, problem instanceof Error ? problem.message : problem);
};
const test: any = (name: string, body: Case) => {
  try {
    const made = body();
    if (made instanceof Promise) waiting.push(made.then(() => settle(name), (error) => settle(name, error ?? "?")));
    else settle(name);
  } catch (error) { settle(name, error ?? "?"); }
};
const it: any = test, xit: any = test, describe: any = (_: string, body: Case) => body(), xdescribe: any = describe;
test.each = each(test); describe.each = each(describe); test.skip = test; describe.skip = describe;
const beforeEach: any = (body: Case) => body(), afterEach: any = () => undefined, beforeAll: any = beforeEach;
const checks = (actual: any, not: boolean): any => new Proxy({}, { get: (_, name: string) => {
  if (name === "not") return checks(actual, !not);
  if (name === "resolves") return checks(actual, not);
  return (expected?: any, more?: any) => {
    let good = true, shown = actual;
    const equal = (left: any, right: any) => {
      try { assert.deepEqual(left, right); return true; } catch { return false; }
    };
    switch (name) {
      case "toBe": good = Object.is(actual, expected); break;
      case "toEqual": case "toStrictEqual": good = equal(actual, expected); break;
      case "toBeCloseTo": good = Math.abs(actual - expected) < 10 ** -(more ?? 2) / 2; break;
      case "toBeTruthy": good = !!actual; break;
      case "toBeFalsy": good = !actual; break;
      case "toBeNull": good = actual === null; break;
      case "toBeUndefined": good = actual === undefined; break;
      case "toBeDefined": good = actual !== undefined; break;
      case "toBeGreaterThan": good = actual > expected; break;
      case "toBeLessThan": good = actual < expected; break;
      case "toContain": good = [...actual].includes(expected) || actual.includes(expected); break;
      case "toHaveLength": good = actual.length === expected; break;
      case "toMatch": good = new RegExp(expected).test(actual); break;
      case "toBeInstanceOf": good = actual instanceof expected; break;
      case "toThrow": case "toThrowError":
        try { actual(); good = false; } catch (error) { shown = error; good = true; } break;
      default: console.log("no such check:", name);
    }
    if (good === not) throw new Error(`${name}: ${String(shown)}, expected ${String(expected)}`);
  };
} });
const expect: any = (actual: any) => checks(actual, false);
process.on("beforeExit", () => {
  console.log(passed, "passed,", failed, "failed");
  process.exitCode = failed ? 1 : 0;
});
"""
TYPESCRIPT_IMPORT = re.compile(r"""^import\s[^;'"]*?from\s*['"](\.[^'"]*|@jest/globals|vitest)['"];?[^\S\n]*$""", re.M)
EXPORT = re.compile(
    r"^export\s+(?:default\s+)?(?=(?:abstract\s+)?(?:async\s+)?(?:class|function|const|let|enum|type|interface)\b)",
    re.M,
)


def typescript_test(solution: str, test: str) -> str:
    """The solution, what it takes of jest, and the test, in one module."""
    parts = (TYPESCRIPT_IMPORT.sub("", text) for text in (EXPORT.sub("", solution), test))
    return JEST + "\n".join(parts)


def rust_tests(code: str) -> str:
    """A main that calls every test of a file that has tests; those that must panic are left out."""
    lines, modules, calls = [], list[tuple[str, int]](), list[str]()
    depth, is_test, skips = 0, False, False
    for line in code.replace("#[cfg(test)]", "").splitlines():
        opens = re.match(r"\s*(?:pub(?:\(\w+\))?\s+)?mod\s+(\w+)\s*\{", line)
        function = re.match(r"\s*(?:pub\s+)?fn\s+(\w+)\s*\(\)\s*(?:->.*)?\{", line)
        if opens:
            modules.append((opens[1], depth))
            line = re.sub(r"^(\s*)(?:pub(?:\(\w+\))?\s+)?mod", r"\1pub mod", line)
        if line.strip() in ("#[test]", "#[ignore]") or line.strip().startswith("#[ignore"):
            is_test, line = True, ""
        elif "#[should_panic" in line:
            skips, line = True, ""
        elif function and is_test:
            if not skips:
                name = "::".join((*(module for module, _ in modules), function[1]))
                calls.append(f'    println!("{name}");\n    let _ = {name}();')
            line = re.sub(r"^(\s*)(?:pub\s+)?fn", r"\1pub fn", line)
            is_test = skips = False
        lines.append(line)
        depth += line.count("{") - line.count("}")
        while modules and depth <= modules[-1][1]:
            modules.pop()
    return "\n".join((*lines, "fn main() {", *calls, "}", ""))


def from_rust_files(clone: pathlib.Path) -> Programs:
    """Rust files with tests and without a main."""
    for path in sorted(clone.rglob("*.rs")):
        code = path.read_text(errors="replace")
        if "#[test]" in code and not re.search(r"\bfn\s+main\s*\(", code):
            yield f"{path.parent.name}-{path.name}", rust_tests(code)


def from_rust_variants(clone: pathlib.Path) -> Programs:
    """Folders whose mod.rs has a trait and its test, beside solutions with a test each; none that needs the crate."""
    for module in sorted(clone.rglob("mod.rs")):
        parent = module.read_text()
        if "mod tests" not in parent:
            continue
        parent = re.sub(r"^(?:pub )?mod \w+;$", "", parent, flags=re.M).replace("mod tests", "pub mod tests")
        for path in sorted(module.parent.glob("*.rs")):
            if path != module:
                inner = f"mod problem {{\n{parent}\npub mod {path.stem} {{\n{path.read_text()}\n}}\n}}\n"
                if "crate::" not in inner:
                    yield f"{module.parent.name}-{path.name}", rust_tests(inner)


def from_doctests(clone: pathlib.Path) -> Programs:
    """Python files with examples; the program counts them, and fails where one does."""
    for path in sorted(clone.rglob("*.py")):
        code = path.read_text(errors="replace")
        if ">>>" in code:
            tail = "\n\nimport doctest as _doctest\n_result = _doctest.testmod()\nprint(_result)\n"
            yield f"{path.parent.name}-{path.name}", code + tail + "raise SystemExit(_result.failed > 0)\n"


def from_jest(clone: pathlib.Path) -> Programs:
    """TypeScript files with a test in a folder beside them."""
    for test in sorted(clone.rglob("*.test.ts")):
        solution = test.parent.parent / test.name.replace(".test", "")
        if solution.is_file():
            yield f"{solution.parent.name}-{solution.name}", typescript_test(solution.read_text(), test.read_text())


def from_exercism(clone: pathlib.Path) -> Programs:
    """A track of Exercism: the example solution and the whole test of every exercise."""
    for meta in sorted(clone.glob("exercises/*/*/.meta")):
        folder, name = meta.parent, meta.parent.name
        module = name.replace("-", "_")
        python, rust, typescript = meta / "example.py", meta / "example.rs", meta / "proof.ci.ts"
        if python.is_file() and (test := folder / f"{module}_test.py").is_file():
            imports = re.compile(rf"^from {module} import (?:\([^)]*\)|.*)$|^import {module}$", re.M)
            code = python.read_text() + "\n\n" + imports.sub("", test.read_text())
            yield f"{name}.py", code.replace("from __future__ import annotations", "") + "\n\nunittest.main()\n"
        if rust.is_file():
            tests = "\n".join(path.read_text() for path in sorted(folder.glob("tests/*.rs")))
            tests = re.sub(rf"^use {module}::\*;$", "", tests, flags=re.M).replace(f"use {module}::", "use crate::")
            yield f"{name}.rs", rust_tests(rust.read_text() + "\n" + tests)
        if typescript.is_file() and (test := folder / f"{name}.test.ts").is_file():
            yield f"{name}.ts", typescript_test(typescript.read_text(), test.read_text())


def from_markdown(clone: pathlib.Path) -> Programs:
    """Rust in fenced blocks, those that have a main."""
    for path in sorted(clone.rglob("*.md")):
        blocks = re.findall(r"^```rust[^\n]*\n(.*?)^```", path.read_text(errors="replace"), re.M | re.S)
        for number, block in enumerate(blocks):
            if re.search(r"\bfn\s+main\s*\(", block):
                yield f"{path.parent.name}-{path.stem}-{number}.rs", re.sub(r"^# ", "", block, flags=re.M)


def from_javascript(clone: pathlib.Path) -> Programs:
    """JavaScript as TypeScript, which it is but for what the type check says."""
    for path in sorted(clone.rglob("*.js")):
        yield f"{path.parent.name}-{path.stem}.ts", path.read_text(errors="replace")


def from_humaneval(clone: pathlib.Path) -> Programs:
    """HumanEval's canonical solutions with their checks."""
    with gzip.open(next(clone.rglob("HumanEval.jsonl.gz")), "rt") as lines:
        for line in lines:
            task = json.loads(line)
            code = f"{task['prompt']}{task['canonical_solution']}\n{task['test']}\ncheck({task['entry_point']})\n"
            yield task["task_id"].replace("/", "-") + ".py", code + "print('checked')\n"


KINDS: dict[str, Callable[[pathlib.Path], Programs]] = {
    "doctests": from_doctests,
    "exercism": from_exercism,
    "humaneval": from_humaneval,
    "javascript": from_javascript,
    "jest": from_jest,
    "markdown": from_markdown,
    "rust-files": from_rust_files,
    "rust-variants": from_rust_variants,
}


def main(kind: str, clone: str, target: str) -> None:
    pathlib.Path(target).mkdir(parents=True, exist_ok=True)
    count = 0
    for name, code in KINDS[kind](pathlib.Path(clone)):
        pathlib.Path(target, name).write_text(code)
        count += 1
    print(f"{count} programs in {target}")


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in KINDS:
        sys.exit(f"usage: python -m tests.corpus.prepare {{{','.join(KINDS)}}} CLONE TARGET")
    main(*sys.argv[1:])
