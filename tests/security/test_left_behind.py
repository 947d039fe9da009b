"""What a program writes, binds and does to its input is its own: neither the next program nor a neighbour meets it."""

import json
import socket

import pytest

from tests.server import Server

PLANT = """
import os, socket, time
for folder in ("/tmp", "/dev/shm", "/work", "/"):
    for name in ("left", "-rf", "main.py.left"):
        try: open(os.path.join(folder, name), "w").write("left")
        except OSError: pass
sockets = [socket.socket(socket.AF_UNIX) for _ in range(2)]
sockets[0].bind("\\0left"); sockets[0].listen()
sockets[1].bind("/tmp/socket"); sockets[1].listen()
print("planted", flush=True)
time.sleep(60)
"""
LOOK = """
import os, socket
for folder in ("/tmp", "/dev/shm", "/work", "/"):
    print([name for name in os.listdir(folder) if "left" in name or name == "-rf"])
for name in ("\\0left", "/tmp/socket", NAME):
    try: socket.socket(socket.AF_UNIX).connect(name); print("connected")
    except OSError as error: print(error.strerror)
print([name for name in os.listdir("/proc") if name.isdigit() and int(name) > 3])
"""
NOTHING = ["[]"] * 4 + ["Connection refused", "No such file or directory", "Connection refused", "[]"]


@pytest.mark.threat("F5", "K3")
def test_a_neighbour_that_runs_now_sees_nothing_and_the_next_program_neither(cellblock: Server) -> None:
    """Nor does either reach an abstract socket of the host (unix(7)), which belongs to a network namespace."""
    name = f"\0{cellblock.instance}"
    with socket.socket(socket.AF_UNIX) as host:
        host.bind(name)
        host.listen()
        look = LOOK.replace("NAME", repr(name))
        with cellblock.running("python", PLANT):
            assert cellblock.execute("python", look)["output"].splitlines() == NOTHING
        assert cellblock.execute("python", look)["output"].splitlines() == NOTHING


@pytest.mark.threat("F6")
def test_what_one_test_does_to_its_input_does_not_change_the_next_ones(cellblock: Server) -> None:
    """Three tests of the same input; whatever each tries with descriptor 0, all of them read the same."""
    code = """
import fcntl, os, sys
def attempt(act, *arguments):
    try: return act(*arguments)
    except (OSError, ValueError): return None
def spoil(descriptor):
    if descriptor is not None:
        attempt(os.lseek, descriptor, 3, 0)
        attempt(os.write, descriptor, b"spoilt")
        attempt(os.ftruncate, descriptor, 0)
        attempt(os.posix_fallocate, descriptor, 0, 100)
        attempt(fcntl.fcntl, descriptor, 1033, 15)  # F_ADD_SEALS, all of them
        attempt(fcntl.flock, descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        attempt(os.fchmod, descriptor, 0)
text = sys.stdin.read()
print(text, end="")
os.set_blocking(0, False)
spoil(0)
for path in ("/proc/self/fd/0", "/dev/stdin"):
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDWR | os.O_TRUNC):
        spoil(attempt(os.open, path, flags | os.O_NONBLOCK))
"""
    text = "".join(f"{number}\n" for number in range(2000))
    body = {
        "language": "python",
        "code": code,
        "tests": [{"input": text, "expected": text}] * 3,
        "checker": {"kind": "exact"},
    }
    answer = cellblock.request("POST", "/grade", json.dumps(body).encode(), {"Content-Type": "application/json"}).json
    assert answer["verdict"] == "AC", answer


@pytest.mark.threat("F3")
def test_names_that_look_like_options_are_only_names_and_what_no_file_can_be_called_is_refused(
    cellblock: Server,
) -> None:
    names = ["-c", "@main.py", "--version", "-", "$(id)", "a b", "*", "~"]
    code = (
        "import os, sys\nprint(sorted(os.listdir('.')) == sorted([*sys.argv[1:], 'main.py']), open('@main.py').read())"
    )
    files = [{"name": name, "content": "x"} for name in names]
    answer = cellblock.execute("python", code, files=files, args=names)
    assert answer["output"] == "True x\n", answer
    options = [{"name": name, "content": "fn wrong("} for name in ("-Cpanic=abort", "@main.rs", "-")]
    assert cellblock.execute("rust", 'fn main() { println!("plain"); }', files=options)["output"] == "plain\n"
    for name in (b"a\\u0000b", b"\\u0000", b"\\ud800", b"\xff"):  # NUL, half a surrogate pair, no UTF-8
        body = b'{"language": "python", "code": "", "files": [{"name": "%s", "content": ""}]}' % name
        refused = cellblock.request("POST", "/execute", body, {"Content-Type": "application/json"})
        assert refused.status == 400, refused.text
