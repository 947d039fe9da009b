"""The input of a stored problem's test, as a run has it."""

import os
import pathlib

import pytest

from daemon.grading import problems
from daemon.sandbox.descriptors import is_sealed


def test_each_run_has_a_sealed_copy(tmp_path: pathlib.Path) -> None:
    """With an inode of its own: what one run locks or touches is nobody else's."""
    (tmp_path / "1.in").write_bytes(b"given\n" * 1000)
    runs = [problems.input_of(lambda path: os.open(tmp_path / path, os.O_RDONLY), "1.in") for _ in range(2)]
    assert [os.pread(run, 9000, 0) for run in runs] == [b"given\n" * 1000] * 2
    assert all(is_sealed(run) and not os.fstat(run).st_mode & 0o333 for run in runs)
    assert len({os.fstat(run).st_ino for run in runs}) == 2
    for run in runs:
        os.close(run)


def test_one_that_is_too_large_to_be_copied_is_the_file_itself(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(problems, "INPUT_FILE_BYTES_MAX", 10)
    (tmp_path / "1.in").write_bytes(b"eleven byte")
    run = problems.input_of(lambda path: os.open(tmp_path / path, os.O_RDONLY | os.O_CLOEXEC), "1.in")
    assert os.fstat(run).st_ino == (tmp_path / "1.in").stat().st_ino
    assert not os.get_inheritable(run)
    os.close(run)
