"""What a build leaves is never trusted: links, pipes, directories and giants are refused, and nothing is followed."""

import collections.abc
import pathlib

import pytest

from tests.server import PREFIX, Server

TWO_STEPS = """
title = "Two steps of Python"
extensions = ["two"]
source = "main.py"
version = ["/usr/bin/python3", "--version"]
[[mounts]]
source = "{root}/python/usr"
target = "/usr"
[[steps]]
id = "build"
argv = ["/usr/bin/python3", "{source}"]
artifact = "out"
[steps.limits]
memory_mb = 256
scratch_mb = 128
file_mb = 128
wall_s = 4.0
[[steps]]
id = "run"
argv = ["/work/{artifact}"]
[self_test]
code = '''
import os
os.symlink("/usr/bin/python3", "link")
open("out", "w").write("#!/usr/bin/python3\\nprint('built')\\n")
'''
output = "built\\n"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> collections.abc.Iterator[Server]:
    folder = pathlib.Path(PREFIX, "test-toolchains")
    folder.mkdir(exist_ok=True)
    (folder / "two.toml").write_text(TWO_STEPS)
    try:
        with Server(toolchain_folders=[str(folder)]) as running:
            yield running
    finally:
        (folder / "two.toml").unlink()
        folder.rmdir()


@pytest.mark.threat("F1")
@pytest.mark.parametrize(
    "build",
    [
        "os.symlink('/etc/shadow', 'out')",
        "os.symlink('/usr/bin/python3', 'out')",
        "os.mkfifo('out')",
        "os.mkdir('out')",
        "socket = __import__('sock' + 'et'); socket.socket(socket.AF_UNIX).bind('out')",
        "os.link('/usr/bin/python3', 'out')",
        "open('out', 'wb').write(b'x' * (65 << 20))",
        "pass",
        "os.symlink('out', 'out')",
        "open('out', 'w').write('x'); os.chmod('out', 0)",
    ],
)
def test_an_artefact_that_is_no_plain_file_is_refused(server: Server, build: str) -> None:
    answer = server.execute("two", f"import os\ntry:\n    {build}\nexcept OSError: pass")
    assert answer["reason"] == "compile_error", answer
    assert answer["error"] == "Compilation left no program"


@pytest.mark.threat("F1")
def test_an_artefact_cannot_be_changed_after_the_build(server: Server) -> None:
    """A process of the build that lives on writes to the file for as long as it can; what runs is one whole copy."""
    code = (
        "import os\nopen('out', 'w').write('#!/usr/bin/python3\\nprint(1)\\n')\n"
        "if os.fork() == 0:\n    while True:\n        with open('out', 'r+') as f: f.write('#!/usr/bin/python3\\nprint(2)\\n')\n"
    )
    assert server.execute("two", code)["output"] in ("1\n", "2\n")


def test_a_build_that_fails_is_a_compile_error_with_its_words(server: Server) -> None:
    answer = server.execute("two", "open('out', 'w').write('x')\nraise SystemExit('no such luck')")
    assert (answer["reason"], answer["error"]) == ("compile_error", "no such luck\n")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        pytest.param("while True: pass", "Compilation timed out after 4 seconds", marks=pytest.mark.slow),
        ("x = [bytearray(1 << 20) for _ in range(999)]", "Compilation exceeded its memory limit of 256 MB"),
        ("while True: print('x' * 99)", "Compilation exceeded its limit of diagnostics:\n" + ("x" * 99 + "\n") * 3),
        ("import os\nos.abort()", "Killed by signal 6 (SIGABRT)"),
    ],
    ids=["time", "memory", "output", "signal"],
)
def test_each_limit_of_a_build_is_a_compile_error_that_says_so(server: Server, code: str, said: str) -> None:
    answer = server.execute("two", code)
    assert answer["reason"] == "compile_error"
    assert answer["error"].startswith(said)


@pytest.mark.threat("F1")
def test_an_artefact_that_is_swapped_in_a_loop_is_one_whole_program_or_refused(server: Server) -> None:
    """What a link names meanwhile, /etc/shadow or the toolchain's interpreter, is never taken."""
    code = """
import os
open('real', 'w').write('#!/usr/bin/python3\\nprint(1)\\n')
os.symlink('/etc/shadow', 'outside'); os.symlink('/usr/bin/python3', 'inside')
os.link('real', 'out')
if os.fork() == 0:
    while True:
        for name in ('outside', 'real', 'inside', 'real'):
            os.link(name, 'next', follow_symlinks=False)
            os.rename('next', 'out')
            if os.path.lexists('next'): os.unlink('next')  # two names of one file: rename(2) does nothing
"""
    for number in range(4):
        answer = server.execute("two", f"{code}# {number}")
        assert (answer["output"], answer["error"]) in (("1\n", None), ("", "Compilation left no program")), answer


@pytest.mark.threat("F2")
def test_links_that_a_build_leaves_are_not_there_for_later_steps_and_change_no_target(server: Server) -> None:
    target = pathlib.Path(PREFIX, "toolchains", "python", "usr", "bin", "python3").resolve()
    before = target.stat()
    code = """
import os
for folder in ('/work', '/tmp', '/dev/shm', '/cellblock', '/cellblock/user', '/etc'):
    for name in ('main', 'source', 'out.tmp', 'stdin', 'passwd', 'left'):
        try: os.symlink('/usr/bin/python3', f'{folder}/{name}')
        except OSError: pass
for act in (lambda: os.chmod('main', 0o777), lambda: os.chown('main', 0, 0), lambda: open('main', 'w')):
    try: act(); print('changed')
    except OSError: pass
os.remove('main.py'); os.symlink('/usr/bin/python3', 'main.py')
look = "[os.listdir(folder) for folder in ('/work', '/tmp', '/dev/shm', '/cellblock')], os.path.islink('/work/out')"
open('out', 'w').write(f'#!/usr/bin/python3\\nimport os\\nprint({look})\\n')
os.chmod('out', 0o755)
"""
    answer = server.execute("two", code)
    assert answer["output"] == "[['out'], [], [], ['user']] False\n", answer
    after = target.stat()
    assert (before.st_mode, before.st_uid, before.st_size, before.st_mtime_ns) == (
        after.st_mode, after.st_uid, after.st_size, after.st_mtime_ns
    )  # fmt: skip
