"""What a program sees, has and can do, probed by programs, and looked at from the host."""

import concurrent.futures
import os
import pathlib

import pytest

from tests import posture
from tests.server import START_S, Server, facts, until


@pytest.mark.threat("F8", "K2")
@pytest.mark.vm
def test_the_root_directory_is_minimal(cellblock: Server) -> None:
    """No host /etc, /home, /root or /var, but names of services and of the user; nothing of /sys."""
    assert facts(cellblock, "print(json.dumps(sorted(os.listdir('/'))))") == [
        "bin", "cellblock", "dev", "etc", "lib", "lib64", "proc", "sbin", "tmp", "usr", "work",
    ]  # fmt: skip
    assert facts(cellblock, "print(json.dumps({n: os.readlink('/etc/' + n) for n in os.listdir('/etc')}))") == {
        "group": "/cellblock/user/group",
        "hosts": "/usr/etc/hosts",
        "ld.so.cache": "/usr/etc/ld.so.cache",
        "nsswitch.conf": "/usr/etc/nsswitch.conf",
        "passwd": "/cellblock/user/passwd",
        "protocols": "/usr/etc/protocols",
        "services": "/usr/etc/services",
    }
    assert facts(cellblock, "print(json.dumps(sorted(os.listdir('/dev'))))") == [
        "fd", "full", "null", "random", "shm", "stderr", "stdin", "stdout", "urandom", "zero",
    ]  # fmt: skip


@pytest.mark.threat("K2")
@pytest.mark.vm
@pytest.mark.parametrize("language", ["python", "typescript", "rust"])
def test_every_mount_is_read_only_or_the_jails_own(cellblock: Server, language: str) -> None:
    read = {
        "python": "print(open('/proc/self/mountinfo').read())",
        "typescript": "console.log(require('fs').readFileSync('/proc/self/mountinfo', 'utf8'));",
        "rust": 'fn main() { println!("{}", std::fs::read_to_string("/proc/self/mountinfo").unwrap()); }',
    }[language]
    for line in cellblock.execute(language, read)["output"].split("\n"):
        if not line:
            continue
        front, back = line.split(" - ")
        path, options = front.split()[4], set(front.split()[5].split(","))
        kind = back.split()[0]
        assert "nosuid" in options, line
        assert "nodev" in options or path in {f"/dev/{n}" for n in ("null", "zero", "full", "random", "urandom")}, line
        assert "ro" in options or (kind == "tmpfs" and path in ("/work", "/tmp", "/dev/shm")), line


@pytest.mark.threat("P6")
@pytest.mark.vm
def test_a_program_has_no_capability_and_cannot_gain_one(cellblock: Server) -> None:
    status = cellblock.execute("python", "print(open('/proc/self/status').read())")["output"]
    values = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(values[name], 16) == 0, name
    assert values["NoNewPrivs"] == "1"
    assert values["Seccomp"] == "2"
    assert values["Groups"].strip() == ""
    assert (values["Pid"], values["PPid"]) == ("2", "0")  # a fork of the warden, which is outside


@pytest.mark.threat("P5")
@pytest.mark.vm
def test_a_command_gets_three_descriptors_and_no_socket(cellblock: Server) -> None:
    """Whatever jail and init held before is closed when they become the program, or it starts."""
    list_them = """
        fn main() {
            let mut found: Vec<String> = std::fs::read_dir("/proc/self/fd").unwrap()
                .map(|entry| entry.unwrap().path())
                .map(|path| format!("{} {}", path.display(), std::fs::read_link(&path).unwrap().display()))
                .collect();
            found.sort();
            println!("{}", found.join("\\n"));
        }
    """
    found = cellblock.execute("rust", list_them)["output"].splitlines()
    assert [line.split()[0] for line in found] == [f"/proc/self/fd/{number}" for number in range(4)], found
    assert found[3].split()[1].endswith("/fd"), "the directory being read"
    list_them = """
        const fs = require("fs");
        for (const name of fs.readdirSync("/proc/self/fd"))
            try { console.log(fs.readlinkSync("/proc/self/fd/" + name)); } catch {}
    """
    found = cellblock.execute("typescript", list_them)["output"].splitlines()
    assert len(found) > 3
    assert found[0] == "/memfd:stdin (deleted)"
    assert not [target for target in found[1:] if target.startswith("socket:") or "memfd" in target], found


@pytest.mark.threat("D9")
def test_the_environment_is_the_toolchains_alone(cellblock: Server) -> None:
    assert facts(cellblock, "print(json.dumps(dict(os.environ)))") == {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": "/work",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
    }


@pytest.mark.threat("K2", "M9")
@pytest.mark.vm
def test_proc_shows_only_the_jails_own_processes(cellblock: Server) -> None:
    """Init, the program, and the holder of a forked program's memory (hold() in daemon/warden/native/jail.c)."""
    names = facts(cellblock, "print(json.dumps(sorted(os.listdir('/proc'))))")
    assert names == ["1", "2", "3", "self", "thread-self"]
    assert facts(cellblock, "print(os.listdir('/proc/3/fd'))") == []
    for path in ("/proc/sys/kernel/hostname", "/proc/kallsyms", "/proc/1/mem", "/proc/1/environ", "/proc/1/fd/3"):
        code = f"try:\n    open({path!r}).read()\n    print(1)\nexcept OSError as error:\n    print(0)"
        assert facts(cellblock, code) == 0, path
    code = "try:\n    open('/proc/self/oom_score_adj', 'w').write('-1000')\n    print(1)\nexcept OSError:\n    print(0)"
    assert facts(cellblock, code) == 0


@pytest.mark.threat("K3")
@pytest.mark.vm
def test_there_is_no_network(cellblock: Server) -> None:
    code = """
socket = __import__('sock' + 'et')
found = {}
for address in (('127.0.0.1', %d), ('::1', %d), ('169.254.169.254', 80), ('8.8.8.8', 53), ('localhost', %d), ('example.org', 80)):
    try: socket.create_connection(address, timeout=2); found[str(address)] = 'connected'
    except OSError as error: found[str(address)] = type(error).__name__
print(json.dumps(found))
"""
    found = facts(cellblock, code.replace("%d", str(cellblock.port)))
    assert isinstance(found, dict)
    assert len(found) == 6 and set(found.values()) <= {"OSError", "gaierror"}, found


@pytest.mark.threat("K1")
def test_the_call_gate_of_32_bit_programs_is_no_way_round_the_filter(cellblock: Server) -> None:
    """`int 0x80` has other numbers (20 is getpid there); libseccomp kills whoever comes through another architecture."""
    code = """
import ctypes, mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20; int 0x80; ret
print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))())
"""
    answer = cellblock.execute("python", code)
    assert (answer["output"], answer["signal"]) == ("", "SIGSYS")


@pytest.mark.threat("D11")
@pytest.mark.vm
@pytest.mark.slow
def test_live_jails_have_host_uids_of_their_own(cellblock: Server) -> None:
    """Read from the host's /proc: neither 0, nor the daemon's, nor each other's; in namespaces of their own."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(cellblock.execute, "python", "import time; time.sleep(3)") for _ in range(2)]
        until(lambda: len(uids(cellblock)) >= 2, START_S, "two jails")
        live = uids(cellblock)
        daemon_uids = {
            cellblock.http.uids().real,
            cellblock.keeper.uids().real,
            *(w.uids().real for w in cellblock.wardens()),
        }
        assert not live.keys() & (daemon_uids | {0})
        found = [one for one in map(namespaces, live.values()) if one]  # a jail of before may have ended meanwhile
        assert len(found) >= 2
        for kind, ours in namespaces(os.getpid()).items():
            own = {one[kind] for one in found}
            assert len(own) == len(found), kind
            assert ours not in own
        for future in futures:
            future.result()


def namespaces(pid: int) -> dict[str, str]:
    """Empty for a process that is gone."""
    try:
        return {kind: os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("pid", "mnt", "ipc", "uts", "net", "cgroup")}
    except OSError:
        return {}


def uids(server: Server) -> dict[int, int]:
    """Host uid of each live jail -> pid of one of its processes."""
    found = {}
    for line in posture.jail_processes(server):
        pid = line.split()[0]
        try:
            found[pathlib.Path("/proc", pid).stat().st_uid or _real_uid(pid)] = int(pid)
        except OSError:
            continue
    return found


def _real_uid(pid: str) -> int:
    """Of a process that is not dumpable: its /proc directory belongs to root."""
    status = pathlib.Path("/proc", pid, "status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1])


@pytest.mark.threat("F5")
@pytest.mark.vm
def test_nothing_of_a_run_is_seen_by_the_next(cellblock: Server) -> None:
    plant = "for d in ('/tmp', '/dev/shm', '/work'):\n    open(d + '/left', 'w').write('secret')"
    cellblock.execute("python", plant)
    look = "print(json.dumps([d for d in ('/tmp', '/dev/shm', '/work', '/usr/tmp') for n in (os.listdir(d) if os.path.isdir(d) else []) if n != 'main.py']))"
    assert facts(cellblock, look) == []


@pytest.mark.threat("D4", "D11")
@pytest.mark.vm
def test_the_http_process_has_no_power(cellblock: Server) -> None:
    status = pathlib.Path(f"/proc/{cellblock.http.pid}/status").read_text()
    values = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(values[name], 16) == 0, name
    assert "0" not in values["Uid"].split()
    assert values["NoNewPrivs"] == "1"
    for descriptor in pathlib.Path(f"/proc/{cellblock.http.pid}/fd").iterdir():
        assert "cgroup" not in os.readlink(descriptor)


@pytest.mark.vm
def test_the_keeper_keeps_three_capabilities(cellblock: Server) -> None:
    status = pathlib.Path(f"/proc/{cellblock.keeper.pid}/status").read_text()
    values = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    kill, setgid, setuid = 1 << 5, 1 << 6, 1 << 7
    assert int(values["CapEff"], 16) == int(values["CapBnd"], 16) == kill | setgid | setuid


@pytest.mark.threat("C1")
def test_the_compiler_sees_only_its_jail(cellblock: Server) -> None:
    for path in ("/etc/shadow", "/etc/hostname", "/root/.bashrc", "/var/lib/cellblock/venv/pyvenv.cfg"):
        answer = cellblock.execute("rust", f'fn main() {{ println!("{{}}", include_str!("{path}")); }}')
        assert answer["reason"] == "compile_error"
        assert "couldn't read" in answer["error"]


def test_a_build_that_leaves_no_program_is_the_submissions_failure(cellblock: Server) -> None:
    answer = cellblock.execute("rust", '#![crate_type = "lib"]\npub fn nothing() {}')
    assert (answer["reason"], answer["exit_code"]) == ("exited", 126)
    assert answer["error"] == "/work/main: Exec format error\n"
