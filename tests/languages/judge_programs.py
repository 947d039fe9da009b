"""Checkers, interactors, and submissions that talk, in each language that contestants use."""

ICPC = {  # accepts an output that has the same first integer as the answer file, and leaves a message
    "c": '#include <stdio.h>\nint main(int n, char **v) { char path[99]; int want = -1, got = -2; fscanf(fopen(v[2], "r"), "%d", &want); scanf("%d", &got); snprintf(path, sizeof path, "%sjudgemessage.txt", v[3]); fprintf(fopen(path, "w"), "got %d", got); return want == got ? 42 : 43; }',
    "cpp": '#include <bits/stdc++.h>\nint main(int, char **v) { int want = -1, got = -2; std::ifstream(v[2]) >> want; std::cin >> got; std::ofstream(std::string(v[3]) + "judgemessage.txt") << "got " << got; return want == got ? 42 : 43; }',
    "go": 'package main\n\nimport (\n\t"fmt"\n\t"os"\n)\n\nfunc main() {\n\tvar want, got int\n\tanswer, _ := os.Open(os.Args[2])\n\tfmt.Fscan(answer, &want)\n\tfmt.Scan(&got)\n\tos.WriteFile(os.Args[3]+"judgemessage.txt", []byte(fmt.Sprint("got ", got)), 0o644)\n\tif want == got {\n\t\tos.Exit(42)\n\t}\n\tos.Exit(43)\n}\n',
    "java": 'import java.nio.file.*;\nimport java.util.*;\npublic class Check { public static void main(String[] a) throws Exception { int want = new Scanner(Path.of(a[1])).nextInt(), got = new Scanner(System.in).nextInt(); Files.writeString(Path.of(a[2] + "judgemessage.txt"), "got " + got); System.exit(want == got ? 42 : 43); } }',
    "javascript": "const fs = require('fs'); const [, , , answer, folder] = process.argv; const want = parseInt(fs.readFileSync(answer)), got = parseInt(fs.readFileSync(0)); fs.writeFileSync(folder + 'judgemessage.txt', 'got ' + got); process.exit(want === got ? 42 : 43);",
    "pypy": "import sys\nwant, got = int(open(sys.argv[2]).read()), int(input())\nopen(sys.argv[3] + 'judgemessage.txt', 'w').write(f'got {got}')\nsys.exit(42 if want == got else 43)",
}

TESTLIB_HEADER = """
#pragma once
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <fstream>
enum Verdict { accepted = 0, rejected = 1 };
static std::ifstream given, said, wanted;
inline void open_all(int count, char **names) {
    if (count < 4) std::exit(3);
    given.open(names[1]), said.open(names[2]), wanted.open(names[3]);
}
[[noreturn]] inline void finish(Verdict verdict, const char *format, ...) {
    va_list values;
    va_start(values, format);
    std::vfprintf(stderr, format, values);
    std::exit(verdict);
}
"""
TESTLIB_CHECKER = """
#include "judge.h"
int main(int count, char **names) {
    open_all(count, names);
    int want = -1, got = -2;
    wanted >> want, said >> got;
    finish(want == got ? accepted : rejected, "got %d", got);
}
"""

INTERACTORS = {  # name below output_validators/, and its source: answers guesses at the number in its input
    "c": ("judge.c", '#include <stdio.h>\nint main(int n, char **v) { int secret, guess; fscanf(fopen(v[1], "r"), "%d", &secret); while (scanf("%d", &guess) == 1) { puts(guess < secret ? "higher" : guess > secret ? "lower" : "right"); fflush(stdout); if (guess == secret) return 42; } return 43; }'),
    "cpp": ("judge.cpp", '#include <bits/stdc++.h>\nint main(int, char **v) { int secret, guess; std::ifstream(v[1]) >> secret; while (std::cin >> guess) { std::cout << (guess < secret ? "higher" : guess > secret ? "lower" : "right") << std::endl; if (guess == secret) return 42; } return 43; }'),
    "go": ("judge.go", 'package main\n\nimport (\n\t"fmt"\n\t"os"\n)\n\nfunc main() {\n\tvar secret, guess int\n\tin, _ := os.Open(os.Args[1])\n\tfmt.Fscan(in, &secret)\n\tfor {\n\t\tif _, err := fmt.Scan(&guess); err != nil {\n\t\t\tos.Exit(43)\n\t\t}\n\t\tswitch {\n\t\tcase guess < secret:\n\t\t\tfmt.Println("higher")\n\t\tcase guess > secret:\n\t\t\tfmt.Println("lower")\n\t\tdefault:\n\t\t\tfmt.Println("right")\n\t\t\tos.Exit(42)\n\t\t}\n\t}\n}\n'),
    "java": ("Judge.java", 'import java.nio.file.*;\nimport java.util.*;\npublic class Judge { public static void main(String[] a) throws Exception { int secret = new Scanner(Path.of(a[0])).nextInt(); Scanner in = new Scanner(System.in); while (in.hasNextInt()) { int guess = in.nextInt(); System.out.println(guess < secret ? "higher" : guess > secret ? "lower" : "right"); if (guess == secret) System.exit(42); } System.exit(43); } }'),
    "javascript": ("judge.js", "const secret = parseInt(require('fs').readFileSync(process.argv[2])); require('readline').createInterface({ input: process.stdin }).on('line', (line) => { const guess = parseInt(line); console.log(guess < secret ? 'higher' : guess > secret ? 'lower' : 'right'); if (guess === secret) process.exit(42); }).on('close', () => process.exit(43));"),
}  # fmt: skip

GUESSES = {  # halves 1 to 1000 until it is right
    "c": '#include <stdio.h>\n#include <string.h>\nint main(void) { int low = 1, high = 1000; char said[9]; for (;;) { int guess = (low + high) / 2; printf("%d\\n", guess); fflush(stdout); if (scanf("%8s", said) != 1) return 1; if (!strcmp(said, "right")) return 0; if (*said == \'h\') low = guess + 1; else high = guess - 1; } }',
    "cpp": '#include <bits/stdc++.h>\nint main() { int low = 1, high = 1000; std::string said; for (;;) { int guess = (low + high) / 2; std::cout << guess << std::endl; if (!(std::cin >> said)) return 1; if (said == "right") return 0; (said == "higher" ? low = guess + 1 : high = guess - 1); } }',
    "go": 'package main\n\nimport "fmt"\n\nfunc main() {\n\tlow, high, said := 1, 1000, ""\n\tfor said != "right" {\n\t\tguess := (low + high) / 2\n\t\tfmt.Println(guess)\n\t\tif _, err := fmt.Scan(&said); err != nil {\n\t\t\tpanic(err)\n\t\t}\n\t\tif said == "higher" {\n\t\t\tlow = guess + 1\n\t\t} else {\n\t\t\thigh = guess - 1\n\t\t}\n\t}\n}\n',
    "java": 'import java.io.*;\npublic class Main { public static void main(String[] a) throws IOException { BufferedReader in = new BufferedReader(new InputStreamReader(System.in)); int low = 1, high = 1000; for (;;) { int guess = (low + high) / 2; System.out.println(guess); switch (in.readLine()) { case "right": return; case "higher": low = guess + 1; break; default: high = guess - 1; } } } }',
    "javascript": "let low = 1, high = 1000; const guess = () => (low + high) >> 1; require('readline').createInterface({ input: process.stdin }).on('line', (said) => { if (said === 'right') process.exit(0); if (said === 'higher') low = guess() + 1; else high = guess() - 1; console.log(guess()); }); console.log(guess());",
    "pypy": "low, high = 1, 1000\nwhile True:\n    guess = (low + high) // 2\n    print(guess, flush=True)\n    said = input()\n    if said == 'right': break\n    if said == 'higher': low = guess + 1\n    else: high = guess - 1",
}
