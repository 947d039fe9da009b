"""Which language source files are in, by their extensions: the specification's table of languages.

Source: appendix/languages.md of the format; extensions in parentheses there do not tell a language. What a deployment
calls these languages, and which of them it has, is for who runs the program.
"""

import re
from collections.abc import Iterable

CODES = {
    "ada": "adb ads", "algol68": "a68", "apl": "apl", "bash": "sh", "c": "c", "cobol": "cob",
    "cpp": "cc cpp cxx c++ C", "crystal": "cr", "csharp": "cs", "d": "d", "dart": "dart", "elixir": "ex",
    "erlang": "erl", "forth": "fth 4th forth frt", "fortran": "f90", "fsharp": "fs", "gerbil": "ss", "go": "go",
    "haskell": "hs", "java": "java", "javascript": "js", "julia": "jl", "kotlin": "kt", "lisp": "lisp cl",
    "lua": "lua", "modula2": "mod def", "nim": "nim", "objectivec": "m", "ocaml": "ml", "odin": "odin",
    "pascal": "pas", "perl": "pm", "php": "php", "prolog": "pl", "python2": "py2", "python3": "py py3",
    "racket": "rkt", "ruby": "rb", "rust": "rs", "scala": "scala", "simula": "sim", "smalltalk": "st",
    "snobol": "sno", "swift": "swift", "typescript": "ts", "visualbasic": "vb", "zig": "zig",
}  # fmt: skip
BY_EXTENSION = {extension: code for code, extensions in CODES.items() for extension in extensions.split()}
CONTAINS = {"cpp": {"c"}}  # a compiler of the one takes files of the other
PYTHON_2 = re.compile(rb"#!.*python2")  # legacy, "Programs"; on the first line
SHEBANG_FILES = {"python3": "python2"}


def of_file(name: str) -> str | None:
    """The language of a file by its name, or None."""
    return BY_EXTENSION.get(name.rpartition(".")[2]) if "." in name.rpartition("/")[2] else None


def of_files(names: Iterable[str]) -> str | None:
    """The language of a program: that of most of its files; None where none is, or where two languages are equal."""
    counts: dict[str, int] = {}
    for name in names:
        code = of_file(name)
        if code is not None:
            counts[code] = counts.get(code, 0) + 1
    for wider, narrower in CONTAINS.items():
        if wider in counts:
            counts[wider] += sum(counts.pop(code, 0) for code in narrower)
    most = max(counts.values(), default=0)
    best = [code for code, count in counts.items() if count == most]
    return best[0] if len(best) == 1 else None


def with_shebang(code: str | None, first_line: bytes) -> str | None:
    """The same or the older version of the language, as the first line of the program says."""
    other = SHEBANG_FILES.get(code or "")
    return other if other is not None and PYTHON_2.match(first_line) else code
