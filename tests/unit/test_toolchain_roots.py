"""The installed folders of toolchains, which every jail sees."""

import os
import pathlib
import stat

import pytest

from tests.server import PREFIX


@pytest.mark.threat("P6", "F8")
def test_no_file_of_a_toolchain_gives_rights_or_can_be_changed() -> None:
    """No set-user-id, no capability of a file (capabilities(7)), nothing that others than root may write."""
    for top, folders, files in os.walk(pathlib.Path(PREFIX, "toolchains")):
        for path in (os.path.join(top, name) for name in folders + files):
            found = os.lstat(path)
            if stat.S_ISLNK(found.st_mode):
                continue
            assert not found.st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH), path
            assert stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode), path
            assert "security.capability" not in os.listxattr(path), path
