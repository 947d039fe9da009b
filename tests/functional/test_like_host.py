"""What ordinary programs do on the first day works as on the bare host, or fails as there."""

import pytest

from tests.server import Server

PYTHON = {
    "copying with metadata": (
        """
import os, shutil
open("a.txt", "w").write("one")
os.utime("a.txt", (1, 2))
shutil.copy2("a.txt", "b.txt")
os.mkdir("tree"); shutil.move("b.txt", "tree/b.txt"); shutil.copytree("tree", "copy")
print(open("copy/b.txt").read(), os.stat("copy/b.txt").st_mtime)
""",
        "one 2.0\n",
    ),
    "extended attributes": (
        """
import errno, os
for call in (lambda: os.getxattr(".", "user.x"), lambda: os.listxattr("."), lambda: os.setxattr(".", "user.x", b"")):
    try:
        call()
    except OSError as error:
        print(errno.errorcode[error.errno])
""",
        "ENOTSUP\nENOTSUP\nENOTSUP\n",
    ),
    "locale": (
        'import locale\nprint(locale.setlocale(locale.LC_ALL, ""), locale.nl_langinfo(locale.CODESET))',
        "C.UTF-8 UTF-8\n",
    ),
    "user": (
        """
import getpass, grp, os, pathlib, pwd
me = pwd.getpwuid(os.getuid())
print(getpass.getuser(), me.pw_name, me.pw_dir, me.pw_uid == os.getuid(), pwd.getpwnam("user") == me)
print(grp.getgrgid(os.getgid()).gr_name, pathlib.Path("main.py").owner(), pathlib.Path("/usr").owner())
print(os.access("/etc/passwd", os.W_OK), os.path.expanduser("~"), len(pwd.getpwall()))
""",
        "user user /work True True\nuser user nobody\nFalse /work 3\n",
    ),
    "FIFO": (
        """
import os, threading
os.mkfifo("pipe")
threading.Thread(target=lambda: open("pipe", "w").write("through")).start()
print(open("pipe").read())
os.mknod("plain")
print(os.path.getsize("plain"))
try:
    os.mknod("device", 0o20600, os.makedev(1, 3))
except PermissionError as error:
    print(error.strerror)
""",
        "through\n0\nOperation not permitted\n",
    ),
    "locks": (
        """
import fcntl, os
one, other = open("lock", "w"), open("lock", "w")
fcntl.flock(one, fcntl.LOCK_EX)
try:
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("held")
fcntl.flock(one, fcntl.LOCK_UN)
fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
print("taken")
""",
        "held\ntaken\n",
    ),
    "one core": (
        "import os\nos.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\nprint(len(os.sched_getaffinity(0)))",
        "1\n",
    ),
    "pidfd": (
        """
import os, select, signal
pid = os.fork()
if pid == 0:
    signal.pause()
pidfd = os.pidfd_open(pid)
signal.pidfd_send_signal(pidfd, signal.SIGTERM)
select.select([pidfd], [], [])
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
""",
        "-15\n",
    ),
    "owner": (
        'import os\nos.chown("main.py", -1, -1)\nopen("a", "w")\nos.chown("a", os.getuid(), os.getgid())\nprint("mine")',
        "mine\n",
    ),
    "classes that answer for themselves": (
        """
class Meta(type):
    def __getattr__(cls, name): print("asked for", name); raise AttributeError(name)
    def __hash__(cls): print("hashed"); return 1
    def __getattribute__(cls, name): print("looked up", name); return type.__getattribute__(cls, name)
    def __instancecheck__(cls, one): print("checked"); return False
class Kind(metaclass=Meta):
    def __getattribute__(self, name): print("got", name); return object.__getattribute__(self, name)
    @property
    def __class__(self): print("class"); return int
kept = [Kind()]
""",
        "",
    ),
    "out of memory at the end": (
        """
import resource
kept = [[] for _ in range(150_000)]
resource.setrlimit(resource.RLIMIT_AS, (1 << 20, 1 << 20))
print("end")
""",
        "end\n",
    ),
    "shell": (
        """
import os, subprocess
print(os.system("echo by the shell; exit 3") >> 8, flush=True)
print(subprocess.run("ls -l main.py | cut -c1-10; cat main.py | wc -l", shell=True, capture_output=True, text=True).stdout)
print(os.popen("nothing-like-that 2>&1").read())
""",
        "by the shell\n3\n-rw-r--r--\n5\n\n/bin/sh: 1: nothing-like-that: not found\n\n",
    ),
    "names of the network": (
        """
import socket
print(socket.gethostbyname("localhost"), socket.getservbyname("https"), socket.getprotobyname("tcp"))
""",
        "127.0.0.1 443 6\n",
    ),
    "asyncio subprocess": (
        """
import asyncio, sys
async def main():
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "print('child')", stdout=-1)
    print(await process.communicate(), process.returncode)
asyncio.run(main())
""",
        "(b'child\\n', None) 0\n",
    ),
}
TYPESCRIPT = {
    "user": (
        'import os from "node:os";\nconst { username, homedir, uid } = os.userInfo();\n'
        "console.log(username, homedir, uid === process.getuid!());",
        "user /work true\n",
    ),
    "processors": (
        """
import * as os from "node:os";
import { cpus } from "os";
const [first] = os.cpus();
console.log(cpus().length === os.availableParallelism(), cpus().length > 0, typeof first.model, Object.keys(first.times).join());
""",
        "true true string user,nice,sys,idle,irq\n",
    ),
    "interfaces": ('import os from "node:os";\nconsole.log(Object.keys(os.networkInterfaces()).length);', "0\n"),
    "watching": (
        """
import * as fs from "node:fs";
try {
  fs.watch(".");
} catch (error) {
  console.log((error as NodeJS.ErrnoException).code);
}
""",
        "EMFILE\n",
    ),
}
RUST = {
    "lock": (
        """
use std::fs::File;
fn main() {
    let (one, other) = (File::create("lock").unwrap(), File::create("lock").unwrap());
    one.lock().unwrap();
    println!("{}", other.try_lock().is_err());
    one.unlock().unwrap();
    println!("{}", other.try_lock().is_ok());
}
""",
        "true\ntrue\n",
    ),
    "addresses": (
        """
use std::net::{IpAddr, Ipv4Addr};
fn main() {
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    println!("{local} {}", local.is_loopback());
}
""",
        "127.0.0.1 true\n",
    ),
}
CASES = [  # File::lock came with Rust 1.89, Debian 13 has 1.85
    pytest.param(language, *case, id=f"{language}-{name}", marks=[] if name == "lock" else [pytest.mark.vm])
    for language, cases in (("python", PYTHON), ("typescript", TYPESCRIPT), ("rust", RUST))
    for name, case in cases.items()
]


@pytest.mark.parametrize(("language", "code", "output"), CASES)
def test_a_program_does_what_it_does_on_the_host(cellblock: Server, language: str, code: str, output: str) -> None:
    answer = cellblock.execute(language, code)
    assert (answer["stdout"], answer["stderr"], answer["exit_code"]) == (output, "", 0)
