"""The programs of attackers.py: each uses something that all share as much as one program can."""

from tests.small_packages import LEGACY, with_files

BUSY = """
import os, time
end_s = time.monotonic() + {}
while time.monotonic() < end_s: pass
os._exit(0)
"""
FILES = """
import fcntl, os
files = [os.path.join(folder, name) for folder, _, names in os.walk("/usr") for name in names]
"""
PYTHON = {
    "fork bomb": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "exec bomb": """
import os, sys
while True:
    if os.fork():
        os.execv(sys.executable, ["python3", "-S", "-c", "import os; os.fork(); os.execv('/proc/self/exe', ['python3', '-S', '-c', ''])"])
""",
    "thread bomb": "import threading\nwhile True:\n    try: threading.Thread(target=threading.Event().wait).start()\n    except RuntimeError: pass",
    "children of the parent": """
import ctypes, time
libc = ctypes.CDLL(None)
for _ in range(40):
    if libc.syscall(56, ctypes.c_long(0x8000 | 17), 0, 0, 0, 0) == 0: time.sleep(100)
""",
    "a cycle of sockets": """
import os, socket
one, other = socket.socketpair()
socket.send_fds(one, [b"x"], [1, 2, one.fileno(), other.fileno()])
socket.send_fds(other, [b"x"], [1, 2, one.fileno(), other.fileno()])
os._exit(0)
""",
    "names looked up": """
import os
number = 0
while True:
    number += 1
    try: os.stat(f"/tmp/{number:0200}")
    except OSError: pass
""",
    "sockets and filters": """
import ctypes, os
socket, libc = __import__("sock" + "et"), ctypes.CDLL(None)
program, pipe = ctypes.create_string_buffer(16), os.pipe()
kept = []
while True:
    try:
        kept += socket.socketpair()
        for one in kept[-2:]:
            one.setblocking(False)
            for option in (26, 50): libc.setsockopt(one.fileno(), 1, option, program, 16)
            while True: one.send(bytes(4096))
    except BlockingIOError: pass
    except OSError: kept.clear()
""",
    "file locks": f"{FILES}"
    """
import struct
file, number = os.open(files[0], os.O_RDONLY), 0
while True:
    number += 2
    fcntl.fcntl(file, fcntl.F_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, number, 1, 0))
""",
    "flushing and advice": f"{FILES}"
    """
while True:
    for name in files:
        try: file = os.open(name, os.O_RDONLY)
        except OSError: continue
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)
""",
    "memory bandwidth": "one = bytearray(50 << 20)\nother = bytearray(50 << 20)\nwhile True: one[:] = memoryview(other)",
    "memory limit": "kept = []\nwhile True: kept.append(bytes(1 << 20))",
    "files": """
import os
number = 0
while True:
    number += 1
    try: open(f"/tmp/{number % 8000}", "w").write("x" * 4096)
    except OSError: os.system
""",
    "output": "import os\nwhile True: os.write(1, bytes(65536))",
}
SLOW_TYPES = "".join((
    "type Row<N extends number, Made extends 0[] = []> = Made['length'] extends N ? Made : Row<N, [...Made, 0]>;\n",
    *(f"let row{length}: Row<{length}> | undefined;\n" for length in range(900, 990)),
))  # fmt: skip
MANY_DIAGNOSTICS = f"interface Wrong {{ {'a' * 2000}: 1 }}\nlet wrong: Wrong;\n" + "wrong = {};" * 5000
SLOW_TO_LEX = "/* " * 100 + "fetch('http://localhost');" + "`${" * 20000
SMALL_WRITES = """
extern "C" { fn write(file: i32, from: *const u8, bytes: usize) -> isize; }
fn main() { loop { unsafe { write(1, b"x".as_ptr(), 1); write(2, b"y".as_ptr(), 1); } } }
"""
SLOW_CONSTANT = """
const fn count(to: u64) -> u64 { let mut made = 0; while made < to { made += 1; } made }
#[allow(long_running_const_eval)]
const MADE: u64 = count(100_000_000);
fn main() { println!("{MADE}"); }
"""
SLOW_PACKAGE = with_files(LEGACY, {"submissions/accepted/slow.py": "while True: pass"})
