"""What contestants hand in during contest_hour: one program for each verdict in each language, all made here.

A test's input is its number and how many steps of a linear congruential generator the program must take; the right
output is the last value. FAIL_AT is the test at which the program does what its verdict is for.
"""

import dataclasses

MULTIPLIER, INCREMENT, MASK = 1103515245, 12345, (1 << 31) - 1  # of the generator in C's rand(3), POSIX's example
TESTS, BIG_TESTS = 60, 5  # the last tests are the big ones
LIGHT_STEPS = 2000
FAIL_AT = 7


@dataclasses.dataclass(frozen=True, slots=True)
class Language:
    """`code` has BAD where the program misbehaves at FAIL_AT, and what that is for each verdict stands in `bad`.

    `big_steps` take about a tenth of a second.
    """

    code: str
    bad: dict[str, str]
    broken: str
    comment: str
    big_steps: int


PYTHON = """
number, steps = map(int, input().split())
value = number
if number == FAIL_AT:
    BAD
for _ in range(steps):
    value = value * 1103515245 + 12345 & 0x7fffffff
print(value)
"""
RUST = """
fn main() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let numbers: Vec<u64> = line.split_whitespace().map(|word| word.parse().unwrap()).collect();
    #[allow(unused_mut)]
    let (number, mut steps) = (numbers[0], numbers[1]);
    let mut value = number as u32;
    if number == FAIL_AT { BAD }
    for _ in 0..steps { value = value.wrapping_mul(1103515245).wrapping_add(12345) & 0x7fffffff; }
    println!("{}", value);
}
"""
CPP = """
#include <bits/stdc++.h>
int main() {
    unsigned number; unsigned long steps;
    std::cin >> number >> steps;
    unsigned value = number;
    if (number == FAIL_AT) { BAD }
    for (unsigned long step = 0; step < steps; step++) value = value * 1103515245u + 12345u & 0x7fffffffu;
    std::cout << value << '\\n';
}
"""
SCRIPT = """
IMPORT
const [number, steps] = readFileSync(0, "utf8").trim().split(" ").map(Number);
function advance(value, count) {
  for (let step = 0; step < count; step++) value = (Math.imul(value, 1103515245) + 12345) & 0x7fffffff;
  return value;
}
let value = number;
if (number === FAIL_AT) { BAD }
for (let left = steps; left > 0; left -= 1000) value = advance(value, Math.min(left, 1000));
console.log(value);
"""
SCRIPT_BAD = {
    "WA": "value += 1;",
    "TLE": "while (true) value = advance(value, 1000);",
    "MLE": "const held = []; while (true) held.push(new Array(1 << 16).fill(value));",
    "OLE": 'const line = "x".repeat(65535); while (true) console.log(line);',
    "RE": 'throw new Error("no");',
}
SCRIPT_IMPORT = 'import { readFileSync } from "node:fs";'
LANGUAGES = {
    "python": Language(
        PYTHON,
        {
            "WA": "value += 1",
            "TLE": "while True: value += 1",
            "MLE": "held = [bytearray(b'x' * (8 << 20)) for _ in range(1000)]",
            "OLE": "while True: print('x' * 65535)",
            "RE": "raise SystemExit(3)",
        },
        "print(",
        "#",
        1_000_000,
    ),
    "rust": Language(
        RUST,
        {
            "WA": "value += 1;",
            "TLE": "loop { value = std::hint::black_box(value).wrapping_add(1); }",
            "MLE": "let mut held = Vec::new(); loop { held.push(std::hint::black_box(vec![1u8; 8 << 20])); }",
            "OLE": 'let line = "x".repeat(65535); loop { println!("{line}"); }',
            "RE": "std::process::exit(3);",
        },
        'fn main() { let one: u32 = "1"; }',
        "//",
        300_000_000,
    ),
    "cpp": Language(
        CPP,
        {
            "WA": "value += 1;",
            "TLE": "for (volatile unsigned other = 0;;) other = other + 1;",
            "MLE": 'for (;;) { char *held = (char *)malloc(8 << 20); memset(held, 1, 8 << 20); asm volatile("" :: "r"(held)); }',
            "OLE": "std::string line(65535, 'x'); for (;;) std::cout << line << '\\n';",
            "RE": "return 3;",
        },
        "int main() { return one; }",
        "//",
        300_000_000,
    ),
    "typescript": Language(
        SCRIPT.replace("value, count)", "value: number, count: number): number").replace("IMPORT", SCRIPT_IMPORT),
        {**SCRIPT_BAD, "MLE": SCRIPT_BAD["MLE"].replace("held =", "held: number[][] =")},
        'const one: number = "1";',
        "//",
        80_000_000,
    ),
    "javascript": Language(
        SCRIPT.replace("IMPORT", 'const { readFileSync } = require("node:fs");'),
        SCRIPT_BAD,
        "const = 1;",
        "//",
        80_000_000,
    ),
}


def code(language: Language, verdict: str) -> str:
    """A program that gets the verdict; for AC it is right."""
    if verdict == "CE":
        return language.broken
    fail_at = 0 if verdict == "AC" else FAIL_AT  # no test has the number 0
    return language.code.replace("FAIL_AT", str(fail_at)).replace("BAD", language.bad.get(verdict, language.bad["WA"]))


def tests(language: Language, *, is_heavy: bool) -> list[dict[str, str]]:
    """Input and right output of each; the last of a heavy submission have `big_steps`."""
    found = []
    for number in range(1, TESTS + 1):
        steps = language.big_steps if is_heavy and number > TESTS - BIG_TESTS else LIGHT_STEPS
        found.append({"input": f"{number} {steps}\n", "expected": f"{advanced(number, steps)}\n"})
    return found


def advanced(value: int, steps: int) -> int:
    """The generator's value after so many steps, by doubling: a step is an affine map, and so are two of them."""
    multiplier, increment = MULTIPLIER, INCREMENT
    while steps:
        if steps & 1:
            value = value * multiplier + increment & MASK
        multiplier, increment = multiplier * multiplier & MASK, increment * (multiplier + 1) & MASK
        steps >>= 1
    return value
