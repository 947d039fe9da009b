"""The same small programs in each language that contestants use: what runs, fails, and meets its limits."""

LANGUAGES = ("bash", "c", "cpp", "go", "java", "javascript", "pypy")

SUM = {  # of the integers on its input
    "bash": "awk '{ for (i = 1; i <= NF; i++) s += $i } END { print s + 0 }'",
    "c": '#include <stdio.h>\nint main(void) { long n, s = 0; while (scanf("%ld", &n) == 1) s += n; printf("%ld\\n", s); }',
    "cpp": "#include <bits/stdc++.h>\nint main() { long n, s = 0; while (std::cin >> n) s += n; std::cout << s << '\\n'; }",
    "go": """package main

import (
	"bufio"
	"fmt"
	"os"
)

func main() {
	in, sum := bufio.NewReader(os.Stdin), 0
	for n := 0; ; sum += n {
		if _, err := fmt.Fscan(in, &n); err != nil {
			break
		}
	}
	fmt.Println(sum)
}
""",
    "java": """import java.util.Scanner;
public class Main {
    public static void main(String[] arguments) {
        Scanner in = new Scanner(System.in);
        long sum = 0;
        while (in.hasNextLong()) sum += in.nextLong();
        System.out.println(sum);
    }
}
""",
    "javascript": "console.log(require('fs').readFileSync(0, 'utf8').split(/\\s+/).reduce((sum, n) => sum + Number(n), 0));",
    "pypy": "import sys\nprint(sum(map(int, sys.stdin.read().split())))",
}

WRONG = {  # a source that is not right, and what is told of it
    "bash": ("echo one\nif true\n", "run: line 3: syntax error: unexpected end of file"),
    "c": ("int main(void) {\n  return wrong;\n}", "main.c:2:10: error: 'wrong' undeclared"),
    "cpp": ("int main() {\n  return wrong;\n}", "main.cpp:2:10: error: 'wrong' was not declared in this scope"),
    "go": (
        'package main\n\nimport "fmt"\n\nfunc main() {\n\tfmt.Println(wrong)\n}\n',
        "main.go:6:14: undefined: wrong",
    ),
    "java": (
        "public class Main {\n  public static void main(String[] a) {\n    wrong();\n  }\n}\n",
        "Main.java:3: error: cannot find symbol\n    wrong();\n    ^\n  symbol:   method wrong()\n",
    ),
    "javascript": ("let one = 1;\nlet one = 2;\n", "main.js:2\nlet one = 2;\n    ^\n\nSyntaxError: "),
    "pypy": ("one = 1\nif one\n", 'File "/work/main.py", line 2\n'),
}

FAILS = {  # at its second or third line, and what is told of it
    "bash": ("\nnone=()\nset -u; echo $((1 / 0))", "exit code 1", "run: line 3: 1 / 0: division by 0"),
    "c": ("#include <stdlib.h>\nint main(void) {\n  abort(); }", "signal 6 (SIGABRT)", ""),
    "cpp": (
        "#include <vector>\nint main() {\n  return std::vector<int>().at(1); }",
        "signal 6 (SIGABRT)",
        "out_of_range",
    ),
    "go": ("package main\n\nfunc main() { var none []int; none[1] = 2 }\n", "exit code 2", "main.go:3 +0x"),
    "java": (
        "public class Main {\n  public static void main(String[] a) {\n    int[] none = {}; none[1] = 2; } }",
        "exit code 1",
        'Exception in thread "main" java.lang.ArrayIndexOutOfBoundsException: Index 1 out of bounds for length 0\n'
        "\tat Main.main(Main.java:3)\n",
    ),
    "javascript": ("null.x", "exit code 1", "main.js:1\n"),
    "pypy": (
        "\n[][1]",
        "exit code 1",
        'Traceback (most recent call last):\n  File "/work/main.py", line 2, in <module>\n',
    ),
}

LOOP = {
    "bash": "while :; do :; done",
    "c": "int main(void) { for (volatile int n = 0;;) n++; }",
    "cpp": "int main() { for (volatile int n = 0;;) n = n + 1; }",
    "go": "package main\n\nfunc main() {\n\tfor {\n\t}\n}\n",
    "java": "public class Main { public static void main(String[] a) { while (true) a = a.clone(); } }",
    "javascript": "while (true);",
    "pypy": "while True: pass",
}

HOG = {
    "bash": "kept=x; while :; do kept=$kept$kept; done",
    "c": "#include <stdlib.h>\n#include <string.h>\nint main(void) { for (;;) memset(malloc(1 << 20), 1, 1 << 20); }",
    "cpp": "#include <bits/stdc++.h>\nint main() { std::vector<std::string> kept; for (;;) kept.emplace_back(1 << 20, 'x'); }",
    "go": "package main\n\nfunc main() {\n\tvar kept [][]byte\n\tfor {\n\t\tone := make([]byte, 1<<20)\n\t\tfor n := range one {\n\t\t\tone[n] = 1\n\t\t}\n\t\tkept = append(kept, one)\n\t}\n}\n",
    "java": "import java.util.*;\npublic class Main { public static void main(String[] a) { List<byte[]> kept = new ArrayList<>(); while (true) kept.add(new byte[1 << 20]); } }",
    "javascript": "const kept = []; while (true) kept.push(new Array(1 << 17).fill(1.5));",
    "pypy": "kept = []\nwhile True: kept.append(bytearray(b'x') * (1 << 20))",
}

GARBAGE = {  # makes several times its memory and keeps nothing of it
    "go": 'package main\n\nimport "fmt"\n\nfunc main() {\n\ts := 0\n\tfor n := 0; n < 1280; n++ {\n\t\tone := make([]int, 1<<18)\n\t\tone[n] = 1\n\t\ts += one[n]\n\t}\n\tfmt.Println(s)\n}\n',
    "java": "public class Main { public static void main(String[] a) { int s = 0; for (int n = 0; n < 1280; n++) { long[] one = new long[1 << 18]; one[n] = 1; s += one[n]; } System.out.println(s); } }",
    "javascript": "let s = 0; for (let n = 0; n < 1280; n++) { const one = new Array(1 << 16).fill(0.5); one[n] = 1; s += one[n]; } console.log(s);",
    "pypy": "s = 0\nfor n in range(1280):\n    one = [0] * (1 << 18)\n    one[n] = 1\n    s += one[n]\nprint(s)",
}

DEEP = {  # a million calls deep, and back; JavaScript is not among them: V8's stack is its own
    "c": '#include <stdio.h>\nlong f(long n) { volatile long kept[4] = {n}; return n ? f(n - 1) + (kept[0] == n) : 0; }\nint main(void) { printf("%ld\\n", f(1000000)); }',
    "cpp": "#include <iostream>\nlong f(long n) { volatile long kept[4] = {n}; return n ? f(n - 1) + (kept[0] == n) : 0; }\nint main() { std::cout << f(1000000) << '\\n'; }",
    "go": 'package main\n\nimport "fmt"\n\nfunc f(n int) int {\n\tif n == 0 {\n\t\treturn 0\n\t}\n\treturn f(n-1) + 1\n}\n\nfunc main() { fmt.Println(f(1000000)) }\n',
    "java": "public class Main {\n  static long f(long n) { return n == 0 ? 0 : f(n - 1) + 1; }\n  public static void main(String[] a) { System.out.println(f(1000000)); } }",
    "pypy": "import sys\nsys.setrecursionlimit(1100000)\ndef f(n): return 0 if n == 0 else f(n - 1) + 1\nprint(f(1000000))",
}

FILES = {  # a source that needs another file beside it
    "bash": ("source ./other.sh\nsay 42", {"other.sh": 'say() { echo "$1"; }'}),
    "c": ('#include "other.h"\nint main(void) { say(42); }', {
        "other.h": "void say(int);", "other.c": '#include <stdio.h>\nvoid say(int n) { printf("%d\\n", n); }'}),
    "cpp": ('#include "other.h"\nint main() { say(42); }', {
        "other.h": "void say(int);", "other.cpp": "#include <iostream>\nvoid say(int n) { std::cout << n << '\\n'; }"}),
    "go": ("package main\n\nfunc main() { say(42) }\n", {"other.go": 'package main\n\nimport "fmt"\n\nfunc say(n int) { fmt.Println(n) }\n'}),
    "java": ("public class Main { public static void main(String[] a) { other.Other.say(42); } }", {
        "other/Other.java": "package other;\npublic class Other { public static void say(int n) { System.out.println(n); } }"}),
    "javascript": ("require('./other').say(42);", {"other.js": "exports.say = (n) => console.log(n);"}),
    "pypy": ("import other\nother.say(42)", {"other.py": "def say(n): print(n)"}),
}  # fmt: skip

LEAVE = {  # writes where it can, and tells what lies there
    "bash": "ls /tmp /dev/shm; touch /tmp/left /dev/shm/left /work/left",
    "c": '#include <stdio.h>\n#include <stdlib.h>\nint main(void) { fflush(stdout); return system("ls /tmp /dev/shm; ls /work | grep -c left; touch /tmp/left /dev/shm/left /work/left"); }',
    "cpp": '#include <cstdlib>\nint main() { return std::system("ls /tmp /dev/shm; touch /tmp/left /dev/shm/left /work/left"); }',
    "go": 'package main\n\nimport (\n\t"fmt"\n\t"os"\n)\n\nfunc main() {\n\tfor _, d := range []string{"/tmp", "/dev/shm"} {\n\t\tfound, _ := os.ReadDir(d)\n\t\tfmt.Println(len(found))\n\t\tos.WriteFile(d+"/left", nil, 0644)\n\t}\n}\n',
    "java": 'import java.io.*;\npublic class Main { public static void main(String[] a) throws IOException { for (String d : new String[] {"/tmp", "/dev/shm"}) { System.out.println(String.join(" ", new File(d).list())); new File(d, "left").createNewFile(); } } }',
    "javascript": "const fs = require('fs'); for (const d of ['/tmp', '/dev/shm']) { console.log(fs.readdirSync(d).length); fs.writeFileSync(d + '/left', ''); }",
    "pypy": "import os\nfor d in ('/tmp', '/dev/shm'):\n    print(os.listdir(d))\n    open(d + '/left', 'w').close()",
}

WALLS = {  # tells what it can reach: the network, the host's files, its own rights
    "bash": "exec 2>&1; echo > /dev/tcp/127.0.0.1/80 && echo yes; [ -e /etc/shadow ] && echo yes; echo > /usr/x && echo yes; true",
    "c": '#include <arpa/inet.h>\n#include <stdio.h>\n#include <unistd.h>\nint main(void) { struct sockaddr_in a = {AF_INET, htons(80), {htonl(0x7f000001)}}; puts(connect(socket(AF_INET, SOCK_STREAM, 0), (void *)&a, sizeof a) ? "no" : "yes"); puts(access("/etc/shadow", F_OK) ? "no" : "yes"); puts(creat("/usr/x", 0600) < 0 ? "no" : "yes"); }',
    "cpp": '#include <arpa/inet.h>\n#include <fstream>\n#include <iostream>\nint main() { sockaddr_in a{}; a.sin_family = AF_INET; a.sin_port = htons(80); a.sin_addr.s_addr = htonl(0x7f000001); std::cout << (connect(socket(AF_INET, SOCK_STREAM, 0), (sockaddr *)&a, sizeof a) ? "no" : "yes") << (std::ifstream("/etc/shadow") ? "yes" : "no") << (std::ofstream("/usr/x") ? "yes" : "no"); }',
    "go": 'package main\n\nimport (\n\t"fmt"\n\t"net"\n\t"os"\n)\n\nfunc main() {\n\t_, err := net.Dial("tcp", "127.0.0.1:80")\n\tfmt.Println(err)\n\t_, err = os.ReadFile("/etc/shadow")\n\tfmt.Println(err)\n\tfmt.Println(os.WriteFile("/usr/x", nil, 0644))\n}\n',
    "java": 'import java.io.*;\nimport java.net.*;\npublic class Main { public static void main(String[] a) { try { new Socket("127.0.0.1", 80); System.out.println("yes"); } catch (IOException e) { System.out.println(e.getMessage()); } System.out.println(new File("/etc/shadow").exists() ? "yes" : "no"); try { new FileOutputStream("/usr/x"); System.out.println("yes"); } catch (IOException e) { System.out.println(e.getMessage()); } } }',
    "javascript": "const fs = require('fs');\nfor (const act of [() => fs.readFileSync('/etc/shadow'), () => fs.writeFileSync('/usr/x', '')]) { try { act(); console.log('yes'); } catch (e) { console.log(e.code); } }\nrequire('net').connect(80, '127.0.0.1').on('error', (e) => console.log(e.code));",
    "pypy": "import socket\nfor act in (lambda: socket.create_connection(('127.0.0.1', 80)), lambda: open('/etc/shadow'), lambda: open('/usr/x', 'w')):\n    try: act(); print('yes')\n    except OSError as e: print(e)",
}
