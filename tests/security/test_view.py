"""A walk through all that a program can name, compared with a list that is committed and with the toolchain's folder."""

import pathlib
import re

import pytest

from tests.server import PREFIX, Server

COMMITTED = pathlib.Path(__file__).with_name("jail_files.txt")
TOOLCHAIN = pathlib.Path(PREFIX, "toolchains", "python", "usr")
WALK = """
import os, stat
owners = {0: "root", os.getuid(): "own"}
for top, folders, files in os.walk("/"):
    if top == "/usr" or top.startswith("/proc/"):
        folders[:] = []
        continue
    for path in (os.path.join(top, name) for name in folders + files):
        found = os.lstat(path)
        leads = " -> " + os.readlink(path) if stat.S_ISLNK(found.st_mode) else ""
        print(stat.filemode(found.st_mode), owners.get(found.st_uid, "host"), path + leads)
"""
CONTENTS = """
import hashlib, os, stat
names = []
for top, folders, files in os.walk(TOP):
    for name in folders + files:
        found = os.lstat(os.path.join(top, name))
        size = found.st_size if stat.S_ISREG(found.st_mode) else 0
        names.append(os.path.join(top, name)[len(TOP):] + " %o %d" % (found.st_mode, size))
answer = hashlib.sha256("\\n".join(sorted(names)).encode(errors="surrogateescape")).hexdigest() + " %d" % len(names)
"""


@pytest.mark.threat("F8", "K2")
def test_all_that_can_be_named_is_in_a_list_and_the_toolchains_folder(cellblock: Server) -> None:
    """In /usr names, modes and sizes are those of the toolchain's folder on the host."""
    walked = cellblock.execute("python", WALK)["output"].splitlines()
    assert sorted(re.sub(r"cpython-3\d+", "cpython-3", line) for line in walked) == COMMITTED.read_text().splitlines()
    inside = cellblock.execute("python", f"TOP = '/usr'\n{CONTENTS}\nprint(answer)")["output"].strip()
    outside = {"TOP": str(TOOLCHAIN)}
    exec(CONTENTS, outside)
    assert inside == outside["answer"]
