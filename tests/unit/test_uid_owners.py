"""Jails' host uids are nobody else's: the doctor tells of users, groups and delegated ranges among them."""

import pathlib

import pytest

from daemon import doctor, settings
from daemon.finding import Grade
from daemon.host import uid_owners

FIRST_UID = 1879048192


@pytest.mark.parametrize(
    ("file", "line", "is_told"),
    [
        ("passwd", f"alice:x:{FIRST_UID}:100::/:/bin/sh", True),
        ("passwd", f"alice:x:{FIRST_UID - 1}:{FIRST_UID}::/:/bin/sh", False),
        ("passwd", "alice:x:2147483647:100::/:/bin/sh", True),
        ("passwd", "alice:x:2147483648:100::/:/bin/sh", False),
        ("group", f"alice:x:{FIRST_UID}:", True),
        ("subuid", f"alice:{FIRST_UID - 65536}:65536", False),
        ("subuid", f"alice:{FIRST_UID - 65535}:65536", True),
        ("subgid", "alice:2147483000:65536", True),
        ("subgid", "alice:100000:4000000000", True),
        ("subuid", "# no range", False),
        ("subuid", "alice:first:last", False),
    ],
)
def test_who_has_a_uid_of_jails_is_told(tmp_path: pathlib.Path, file: str, line: str, is_told: bool) -> None:
    (tmp_path / "passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
    (tmp_path / file).write_text(line + "\n")
    assert uid_owners.found(FIRST_UID, tmp_path) == ([f"{file}: alice"] if is_told else [])


def test_the_doctor_warns_of_them(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLBLOCK_SETTINGS", "/dev/null")
    monkeypatch.setattr(uid_owners.found, "__defaults__", (tmp_path,))
    assert doctor._uids(settings.load()).grade is Grade.OK
    (tmp_path / "subuid").write_text(f"alice:{FIRST_UID}:65536\nbob:100000:65536\n")
    finding = doctor._uids(settings.load())
    assert (finding.grade, finding.fact) == (Grade.WARN, "others have some of them: subuid: alice")
    assert "first_uid" in finding.hint
