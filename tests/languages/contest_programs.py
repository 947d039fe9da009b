"""What contestants write in each language: how they read, recurse, fill memory, use threads, and end."""

READS = {  # the fast and the plain ways to read integers, of which the first is how many follow; prints their sum
    "c scanf": '#include <stdio.h>\nint main(void) { int n, x; long s = 0; scanf("%d", &n); while (n--) { scanf("%d", &x); s += x; } printf("%ld\\n", s); }',
    "c getchar": """#include <stdio.h>
static int next(void) {
    int c = getchar_unlocked(), sign = 1, value = 0;
    while (c != '-' && (c < '0' || c > '9')) c = getchar_unlocked();
    if (c == '-') sign = -1, c = getchar_unlocked();
    for (; c >= '0' && c <= '9'; c = getchar_unlocked()) value = value * 10 + c - '0';
    return sign * value;
}
int main(void) { long s = 0; for (int n = next(); n--;) s += next(); printf("%ld\\n", s); }
""",
    "cpp cin": "#include <bits/stdc++.h>\nusing namespace std;\nint main() { int n, x; long long s = 0; cin >> n; while (n--) { cin >> x; s += x; } cout << s << endl; }",
    "cpp cin without sync": "#include <bits/stdc++.h>\nusing namespace std;\nint main() { ios_base::sync_with_stdio(false); cin.tie(nullptr); int n, x; long long s = 0; cin >> n; while (n--) { cin >> x; s += x; } cout << s << '\\n'; }",
    "go fscan": 'package main\n\nimport (\n\t"bufio"\n\t"fmt"\n\t"os"\n)\n\nfunc main() {\n\tin := bufio.NewReader(os.Stdin)\n\tout := bufio.NewWriter(os.Stdout)\n\tdefer out.Flush()\n\tvar n, x, s int\n\tfmt.Fscan(in, &n)\n\tfor ; n > 0; n-- {\n\t\tfmt.Fscan(in, &x)\n\t\ts += x\n\t}\n\tfmt.Fprintln(out, s)\n}\n',
    "go scanner": 'package main\n\nimport (\n\t"bufio"\n\t"fmt"\n\t"os"\n\t"strconv"\n)\n\nfunc main() {\n\tin := bufio.NewScanner(os.Stdin)\n\tin.Buffer(make([]byte, 1<<20), 1<<24)\n\tin.Split(bufio.ScanWords)\n\tnext := func() int {\n\t\tin.Scan()\n\t\tx, _ := strconv.Atoi(in.Text())\n\t\treturn x\n\t}\n\ts := 0\n\tfor n := next(); n > 0; n-- {\n\t\ts += next()\n\t}\n\tfmt.Println(s)\n}\n',
    "java scanner": "import java.util.*;\npublic class Main { public static void main(String[] a) { Scanner in = new Scanner(System.in); int n = in.nextInt(); long s = 0; while (n-- > 0) s += in.nextInt(); System.out.println(s); } }",
    "java reader": """import java.io.*;
import java.util.*;
public class Main {
    public static void main(String[] a) throws IOException {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        PrintWriter out = new PrintWriter(new BufferedWriter(new OutputStreamWriter(System.out)));
        int n = Integer.parseInt(in.readLine().trim());
        long s = 0;
        StringTokenizer words = new StringTokenizer("");
        while (n-- > 0) {
            while (!words.hasMoreTokens()) words = new StringTokenizer(in.readLine());
            s += Integer.parseInt(words.nextToken());
        }
        out.println(s);
        out.flush();
    }
}
""",
    "java stream": """import java.io.*;
public class Main {
    static DataInputStream in = new DataInputStream(new BufferedInputStream(System.in, 1 << 16));
    static int next() throws IOException {
        int c = in.read(), sign = 1, value = 0;
        while (c <= ' ') c = in.read();
        if (c == '-') { sign = -1; c = in.read(); }
        for (; c >= '0' && c <= '9'; c = in.read()) value = value * 10 + c - '0';
        return sign * value;
    }
    public static void main(String[] a) throws IOException { long s = 0; for (int n = next(); n-- > 0;) s += next(); System.out.println(s); }
}
""",
    "javascript descriptor": "const [n, ...rest] = require('fs').readFileSync(0, 'utf8').trim().split(/\\s+/).map(Number); console.log(rest.slice(0, n).reduce((s, x) => s + x, 0));",
    "javascript file": "const words = require('fs').readFileSync('/dev/stdin').toString().split(/\\s+/); let s = 0; for (let i = 1; i <= +words[0]; i++) s += +words[i]; console.log(s);",
    "javascript readline": "const words = []; require('readline').createInterface({ input: process.stdin }).on('line', (line) => words.push(...line.split(' '))).on('close', () => { let s = 0; for (let i = 1; i <= +words[0]; i++) s += +words[i]; console.log(s); });",
    "javascript events": "let text = ''; process.stdin.on('data', (part) => { text += part; }).on('end', () => { const words = text.split(/\\s+/); let s = 0; for (let i = 1; i <= +words[0]; i++) s += +words[i]; console.log(s); });",
    "pypy buffer": "import sys\nwords = sys.stdin.buffer.read().split()\nprint(sum(map(int, words[1:int(words[0]) + 1])))",
    "pypy input": "import sys\ninput = sys.stdin.readline\nn = int(input())\nprint(sum(sum(map(int, line.split())) for line in sys.stdin))",
    "python buffer": "import sys\nwords = sys.stdin.buffer.read().split()\nprint(sum(map(int, words[1:int(words[0]) + 1])))",
    "python input": "n = int(input())\ns = 0\nwhile True:\n    try: s += sum(map(int, input().split()))\n    except EOFError: break\nprint(s)",
}

READS |= {  # ways that a pipe does not allow: size, mapping, rewinding
    "c mmap": """#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
int main(void) {
    struct stat s;
    if (fstat(0, &s)) return 1;
    const char *p = mmap(NULL, s.st_size + 1, PROT_READ, MAP_PRIVATE | MAP_POPULATE, 0, 0), *end = p + s.st_size;
    if (p == MAP_FAILED) return 2;
    long sum = 0, first = 1;
    while (p < end) {
        long value = 0, sign = 1;
        if (*p == '-') sign = -1, p++;
        while (p < end && *p >= '0') value = value * 10 + *p++ - '0';
        while (p < end && *p < '-') p++;
        if (!first) sum += sign * value;
        first = 0;
    }
    printf("%ld\\n", sum);
}
""",
    "c rewind": '#include <stdio.h>\nint main(void) { int n, x; long s = 0, bytes; scanf("%d", &n); if (fseek(stdin, 0, SEEK_END)) return 1; bytes = ftell(stdin); rewind(stdin); scanf("%d", &n); while (n--) { scanf("%d", &x); s += x; } if (bytes < 1000) return 2; printf("%ld\\n", s); }',
    "cpp seekg": "#include <bits/stdc++.h>\nusing namespace std;\nint main() { ios_base::sync_with_stdio(false); int n, x; long long s = 0; cin.seekg(0, ios::end); if (cin.tellg() < 1000) return 1; cin.seekg(0); cin >> n; while (n--) { cin >> x; s += x; } cout << s << '\\n'; }",
    "go seek": 'package main\n\nimport (\n\t"fmt"\n\t"io"\n\t"os"\n\t"strconv"\n\t"strings"\n)\n\nfunc main() {\n\tinfo, _ := os.Stdin.Stat()\n\tall := make([]byte, info.Size())\n\tif _, err := os.Stdin.ReadAt(all, 0); err != nil {\n\t\tpanic(err)\n\t}\n\tif at, err := os.Stdin.Seek(0, io.SeekEnd); err != nil || at != info.Size() {\n\t\tpanic(err)\n\t}\n\ts := 0\n\tfor _, word := range strings.Fields(string(all))[1:] {\n\t\tx, _ := strconv.Atoi(word)\n\t\ts += x\n\t}\n\tfmt.Println(s)\n}\n',
    "java channel": """import java.io.*;
import java.nio.*;
import java.nio.channels.*;
public class Main {
    public static void main(String[] a) throws IOException {
        FileChannel channel = new FileInputStream(FileDescriptor.in).getChannel();
        ByteBuffer in = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size());
        byte[] bytes = new byte[in.remaining()];
        in.get(bytes);
        String[] words = new String(bytes).trim().split("\\\\s+");
        long s = 0;
        for (int i = 1; i < words.length; i++) s += Integer.parseInt(words[i]);
        channel.position(0);
        if (System.in.available() != bytes.length) throw new IOException("available");
        System.out.println(s);
    }
}
""",
    "javascript size": "const fs = require('fs'); const all = Buffer.alloc(fs.fstatSync(0).size); fs.readSync(0, all, 0, all.length, 0); console.log(all.toString().trim().split(/\\s+/).slice(1).map(Number).reduce((s, x) => s + x, 0));",
    "pypy size": "import io, os\ninput = io.BytesIO(os.read(0, os.fstat(0).st_size)).readline\nn = int(input())\ns = 0\nwhile True:\n    line = input()\n    if not line: break\n    s += sum(map(int, line.split()))\nprint(s)",
    "pypy mmap": "import mmap\ngiven = mmap.mmap(0, 0, access=mmap.ACCESS_READ)\nprint(sum(map(int, given[:].split()[1:])))",
}

DEEP_THREADS = {  # a million calls deep (CPython: a hundred thousand), on the large stack of a thread of its own
    "cpp": '#include <bits/stdc++.h>\n#include <pthread.h>\nlong f(long n) { volatile long kept[4] = {n}; return n ? f(n - 1) + (kept[0] == n) : 0; }\nvoid *run(void *) { printf("%ld\\n", f(1000000)); return nullptr; }\nint main() { pthread_attr_t a; pthread_attr_init(&a); pthread_attr_setstacksize(&a, 512 << 20); pthread_t t; if (pthread_create(&t, &a, run, nullptr)) return 1; pthread_join(t, nullptr); }',
    "java": 'public class Main {\n  static long f(long n) { return n == 0 ? 0 : f(n - 1) + 1; }\n  public static void main(String[] a) throws Exception { Thread t = new Thread(null, () -> System.out.println(f(1000000)), "deep", 1L << 29); t.start(); t.join(); } }',
    "pypy": "import sys, threading\nsys.setrecursionlimit(1100000)\nthreading.stack_size(1 << 29)\ndef f(n): return 0 if n == 0 else f(n - 1) + 1\nt = threading.Thread(target=lambda: print(f(1000000)))\nt.start()\nt.join()",
    "python": "import sys, threading\nsys.setrecursionlimit(1100000)\nthreading.stack_size(1 << 28)\ndef f(n): return 0 if n == 0 else f(n - 1) + 1\nt = threading.Thread(target=lambda: print(f(100000) * 10))\nt.start()\nt.join()",
}

ARRAY = {  # of NUMBER integers of 32 bits, each written
    "c": '#include <stdio.h>\n#include <stdlib.h>\nint main(void) { int *a = malloc(NUMBERL * 4); for (int i = 0; i < NUMBER; i++) a[i] = i; printf("%d\\n", a[NUMBER - 1]); }',
    "cpp": "#include <bits/stdc++.h>\nint main() { std::vector<int> a(NUMBER); std::iota(a.begin(), a.end(), 0); std::cout << a.back() << '\\n'; }",
    "go": 'package main\n\nimport "fmt"\n\nfunc main() {\n\ta := make([]int32, NUMBER)\n\tfor i := range a {\n\t\ta[i] = int32(i)\n\t}\n\tfmt.Println(a[NUMBER-1])\n}\n',
    "java": "public class Main { public static void main(String[] x) { int[] a = new int[NUMBER]; for (int i = 0; i < NUMBER; i++) a[i] = i; System.out.println(a[NUMBER - 1]); } }",
    "javascript": "const a = new Int32Array(NUMBER); for (let i = 0; i < NUMBER; i++) a[i] = i; console.log(a[NUMBER - 1]);",
    "pypy": "from array import array\na = array('i', [0]) * NUMBER\nfor i in range(NUMBER): a[i] = i\nprint(a[NUMBER - 1])",
    "python": "from array import array\na = array('i', [1]) * NUMBER\na[NUMBER - 1] = NUMBER - 1\nprint(a[NUMBER - 1])",
}

THREADS = {  # four that count to a million each
    "c": '#include <pthread.h>\n#include <stdatomic.h>\n#include <stdio.h>\natomic_long s;\nvoid *run(void *x) { for (int i = 0; i < 1000000; i++) s++; return x; }\nint main(void) { pthread_t t[4]; for (int i = 0; i < 4; i++) pthread_create(&t[i], 0, run, 0); for (int i = 0; i < 4; i++) pthread_join(t[i], 0); printf("%ld\\n", s); }',
    "cpp": "#include <bits/stdc++.h>\nint main() { std::atomic<long> s{0}; std::vector<std::thread> t; for (int i = 0; i < 4; i++) t.emplace_back([&] { for (int j = 0; j < 1000000; j++) s++; }); for (auto &one : t) one.join(); std::cout << s << '\\n'; }",
    "go": 'package main\n\nimport (\n\t"fmt"\n\t"sync"\n\t"sync/atomic"\n)\n\nfunc main() {\n\tvar s int64\n\tvar group sync.WaitGroup\n\tfor i := 0; i < 4; i++ {\n\t\tgroup.Add(1)\n\t\tgo func() {\n\t\t\tdefer group.Done()\n\t\t\tfor j := 0; j < 1000000; j++ {\n\t\t\t\tatomic.AddInt64(&s, 1)\n\t\t\t}\n\t\t}()\n\t}\n\tgroup.Wait()\n\tfmt.Println(s)\n}\n',
    "java": "import java.util.concurrent.*;\nimport java.util.concurrent.atomic.*;\nimport java.util.stream.*;\npublic class Main { public static void main(String[] a) throws Exception { AtomicLong s = new AtomicLong(); ExecutorService pool = Executors.newFixedThreadPool(4); for (int i = 0; i < 4; i++) pool.submit(() -> { for (int j = 0; j < 1000000; j++) s.incrementAndGet(); }); pool.shutdown(); pool.awaitTermination(1, TimeUnit.MINUTES); System.out.println(IntStream.range(0, 4).parallel().mapToLong(i -> s.get() / 4).sum()); } }",
    "javascript": "const { Worker, isMainThread, workerData } = require('worker_threads');\nif (isMainThread) { const s = new BigInt64Array(new SharedArrayBuffer(8)); let alive = 4; for (let i = 0; i < 4; i++) new Worker(__filename, { workerData: s.buffer }).on('exit', () => { if (--alive === 0) console.log(String(s[0])); }); }\nelse { const s = new BigInt64Array(workerData); for (let j = 0; j < 1000000; j++) Atomics.add(s, 0, 1n); }",
    "pypy": "import threading\ncounts = [0] * 4\ndef run(i):\n    for _ in range(1000000): counts[i] += 1\nthreads = [threading.Thread(target=run, args=(i,)) for i in range(4)]\nfor t in threads: t.start()\nfor t in threads: t.join()\nprint(sum(counts))",
    "python": "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(4) as pool: print(sum(pool.map(lambda _: sum(1 for _ in range(1000000)), range(4))))",
}

ENDS = {  # how a program ends, after it printed "done"; then its verdict and the reason
    "c exit 0": ('#include <stdio.h>\n#include <stdlib.h>\nint main(void) { puts("done"); exit(0); }', "AC", None),
    "c return 3": ('#include <stdio.h>\nint main(void) { puts("done"); return 3; }', "RE", "exit code 3"),
    "c division": ('#include <stdio.h>\nint main(void) { volatile int one = 7, zero = 0; puts("done"); return one / zero; }', "RE", "signal 8 (SIGFPE)"),
    "cpp exit 0": ('#include <bits/stdc++.h>\nint main() { std::cout << "done"; std::exit(0); }', "AC", None),
    "cpp exception": ('#include <bits/stdc++.h>\nint main() { std::cout << "done" << std::endl; throw std::runtime_error("x"); }', "RE", "signal 6 (SIGABRT)"),
    "cpp null": ("#include <bits/stdc++.h>\nint main() { int *volatile none = nullptr; std::puts(\"done\"); return *none; }", "RE", "signal 11 (SIGSEGV)"),
    "go exit 0": ('package main\n\nimport (\n\t"fmt"\n\t"os"\n)\n\nfunc main() {\n\tfmt.Println("done")\n\tos.Exit(0)\n}\n', "AC", None),
    "go exit 3": ('package main\n\nimport (\n\t"fmt"\n\t"os"\n)\n\nfunc main() {\n\tfmt.Println("done")\n\tos.Exit(3)\n}\n', "RE", "exit code 3"),
    "go panic": ('package main\n\nimport "fmt"\n\nfunc main() {\n\tfmt.Println("done")\n\tpanic("x")\n}\n', "RE", "exit code 2"),
    "go deadlock": ('package main\n\nimport "fmt"\n\nfunc main() {\n\tfmt.Println("done")\n\t<-make(chan int)\n}\n', "RE", "exit code 2"),
    "java exit 0": ('public class Main { public static void main(String[] a) { System.out.println("done"); System.exit(0); } }', "AC", None),
    "java exit 3": ('public class Main { public static void main(String[] a) { System.out.println("done"); System.exit(3); } }', "RE", "exit code 3"),
    "java exception": ('public class Main { public static void main(String[] a) { System.out.println("done"); throw new RuntimeException(); } }', "RE", "exit code 1"),
    "java caught overflow": ("public class Main { static int f(int n) { return f(n + 1) + 1; } public static void main(String[] a) throws Exception { Thread t = new Thread(null, () -> { try { f(0); } catch (StackOverflowError e) { System.out.println(\"done\"); } }, \"t\", 1 << 20); t.start(); t.join(); } }", "AC", None),
    "java exit in a static block": ('public class Main { static { System.out.println("done"); System.exit(0); } public static void main(String[] a) { } }', "AC", None),
    "java failing initializer": ("public class Main { static int[] x = new int[-1]; public static void main(String[] a) { } }", "RE", "exit code 1"),
    "javascript exit 0": ("console.log('done'); process.exit(0);", "AC", None),
    "javascript exit 3": ("console.log('done'); process.exit(3);", "RE", "exit code 3"),
    "javascript exit code": ("process.exitCode = 4; console.log('done');", "RE", "exit code 4"),
    "javascript throw": ("console.log('done'); throw new Error('x');", "RE", "exit code 1"),
    "javascript rejection": ("console.log('done'); Promise.reject(new Error('x'));", "RE", "exit code 1"),
    "pypy exit 0": ("import sys\nprint('done')\nsys.exit(0)", "AC", None),
    "pypy exit": ("print('done')\nexit()", "AC", None),
    "pypy os exit": ("import os\nprint('done', flush=True)\nos._exit(0)", "AC", None),
    "pypy exit 3": ("print('done')\nraise SystemExit(3)", "RE", "exit code 3"),
    "pypy exit with text": ("import sys\nprint('done')\nsys.exit('bad')", "RE", "exit code 1"),
    "pypy exception": ("print('done')\n1 // 0", "RE", "exit code 1"),
    "pypy recursion": ("def f(n): return f(n + 1)\nprint('done', flush=True)\nf(0)", "RE", "exit code 1"),
}  # fmt: skip

WARNS = {  # compiles with a warning or a note
    "c": 'int main(void) { int unused; char *s = 65; if (unused = 0) return 1; printf("%s\\n", "done"); return 0; s++; }',
    "cpp": '#include <bits/stdc++.h>\nint f() { }\n#warning "careful"\nint main() { int unused; std::cout << "done\\n"; return 0; auto p = std::auto_ptr<int>(); }',
    "java": 'import java.util.*;\npublic class Main { @SuppressWarnings("x") public static void main(String[] a) { List raw = new ArrayList(); raw.add(new Integer(1)); Thread.currentThread().getId(); System.out.println("done"); } }',
}
