"""Sources of C and C++ that use the compiler against its host, its time or its words."""

import pytest

from tests.server import Server

EXPANDS = "".join(f"#define X{n} X{n - 1} X{n - 1} X{n - 1} X{n - 1}\n" for n in range(1, 16))
ATTACKS = {
    "a device": ('#include "/dev/zero"\nint main() {}', ""),
    "its input": ('#include "/dev/stdin"\nint main(void) { return missing; }', "missing"),
    "a host file": ('#include "/etc/shadow"\nint main() {}', "/etc/shadow: No such file or directory"),
    "incbin": ('__asm__(".section .rodata\\n.incbin \\"/etc/shadow\\"\\n.text");\nint main() {}', "/etc/shadow"),
    "embed": ("const char kept[] = {\n#embed </etc/shadow>\n};\nint main() {}", ""),
    "macros": (f"#define X0 1,\n{EXPANDS}int table[] = {{ X15 }};\nint main() {{}}", ""),
    "an array": ("char table[1ul << 62] = {1};\nint main() {}", ""),
    "itself": ('#include __FILE__\nint main() {}', "nested"),
    "errors": ("int main() {\n" + "wrong(;\n" * 5000 + "}", "error"),
}  # fmt: skip
TEMPLATES = "template <int N> struct Grow { Grow<N * 2> left; Grow<N * 2 + 1> right; };\nint main() { Grow<1> it; }"


@pytest.mark.threat("C4")
@pytest.mark.parametrize("language", ["c", "cpp"])
def test_a_source_that_attacks_its_compiler_is_a_compile_error(cellblock: Server, language: str) -> None:
    for name, (code, said) in ATTACKS.items():
        answer = cellblock.execute(language, code)
        assert answer["reason"] == "compile_error", (name, answer)
        assert said in answer["error"], (name, answer["error"][:500])
        assert len(answer["error"]) <= 2 << 20, name


@pytest.mark.threat("C4")
def test_templates_without_end_are_a_compile_error(cellblock: Server) -> None:
    answer = cellblock.execute("cpp", TEMPLATES)
    assert answer["reason"] == "compile_error", answer
