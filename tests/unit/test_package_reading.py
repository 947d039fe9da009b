"""A package is read by a process that has no privilege, little memory and little time, and that lies to nobody."""

import asyncio
import dataclasses
import json
import os
import pathlib
import stat
import subprocess
import zipfile

import pytest

from daemon.grading.packages import reading
from daemon.grading.packages.archive import ArchiveLimits
from daemon.grading.packages.description import Description, from_json, to_json
from daemon.grading.packages.folder import zip_folder
from daemon.grading.packages.problem import Problem
from daemon.grading.packages.reading import ReadingLimits, open_beneath, read_package
from daemon.grading.packages.refusal import CannotRead, PackageRefused, PackageTooLarge
from daemon.grading.packages.time_limit import LimitSource, TimeLimit
from tests.small_packages import LEGACY, NEW, Files, directory, opened, with_files, write, zip_bytes

LIMITS = ReadingLimits()


@pytest.fixture
def target(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "target"
    path.mkdir()
    return path


async def read(files: Files, target: pathlib.Path, limits: ReadingLimits = LIMITS) -> Problem:
    with opened(zip_bytes(files)) as archive, directory(target) as descriptor:
        return await read_package(archive, descriptor, limits)


def answer_with(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """The process is another one, which does this."""
    monkeypatch.setattr(reading, "COMMAND", (*reading.COMMAND[:1], "-c", program))


async def test_a_zip_becomes_a_problem(target: pathlib.Path) -> None:
    found = await read({f"sum/{name}": content for name, content in LEGACY.items()}, target)
    assert (found.folder, len(found.cases), len(found.submissions)) == ("sum", 3, 2)
    with directory(target) as descriptor:
        file = open_beneath(descriptor, f"sum/{found.cases[0].input}")
        assert os.read(file, 100) == b"1 2\n"
        os.close(file)


async def test_a_problem_survives_json(target: pathlib.Path) -> None:
    """Infinite ranges too."""
    found = await read(NEW | {"data/secret/testdata.yaml": "range: -inf 5\n"}, target)
    described = Description(found, TimeLimit(0.3, LimitSource.COMPUTED))
    assert from_json(to_json(described)) == described


async def test_refusals_come_as_they_are(target: pathlib.Path) -> None:
    with pytest.raises(PackageRefused, match=r"^\.\./a: has a part that is empty, \. or \.\.$"):
        await read({"../a": ""}, target)
    with pytest.raises(PackageRefused, match=r"^problem\.yaml: type: must be one of"):
        await read(with_files(LEGACY, {"problem.yaml": "type: x"}), target)
    assert not (target.parent / "a").exists()


async def test_what_is_too_large_is_told_apart(target: pathlib.Path) -> None:
    with pytest.raises(PackageTooLarge):
        await read(LEGACY, target, ReadingLimits(archive=ArchiveLimits(total_bytes_max=10)))


async def test_the_process_has_no_privilege(target: pathlib.Path) -> None:
    """Where it was root it is nobody: so are the files that it makes."""
    await read(LEGACY, target)
    owner = (target / "problem.yaml").stat().st_uid
    assert owner == (65534 if os.geteuid() == 0 else os.geteuid())


async def test_a_process_that_needs_too_much_memory_is_refused(target: pathlib.Path) -> None:
    text = "name: x\n# " + "x" * 900_000
    with pytest.raises(PackageRefused, match="needs more memory"):
        await read(with_files(LEGACY, {"problem.yaml": text}), target, ReadingLimits(memory_bytes=1 << 20))


async def test_a_process_that_takes_too_long_is_killed(target: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, "import time; time.sleep(1000)")
    with pytest.raises(PackageRefused, match=r"takes more than 0\.2 seconds"):
        await read(LEGACY, target, ReadingLimits(deadline_s=0.2))


async def test_cpu_time_is_limited(target: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import resource; resource.setrlimit(resource.RLIMIT_CPU, (1, 3))\nwhile True: pass"
    answer_with(monkeypatch, program)
    with pytest.raises(PackageRefused, match="CPU time"):
        await read(LEGACY, target)


async def test_the_process_ends_when_its_caller_is_cancelled(
    target: pathlib.Path, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    started = tmp_path / "pid"
    os.mkfifo(started)
    answer_with(monkeypatch, f"import os, time; open({str(started)!r}, 'w').write(str(os.getpid())); time.sleep(1000)")
    task = asyncio.create_task(read(LEGACY, target))
    pid = int(await asyncio.to_thread(started.read_text))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("answer", ["", "{", "[]", '{"problem": {}}', '{"problem": 5}', "null", '{"failed": "x"}'])
async def test_nonsense_is_our_fault(target: pathlib.Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    answer_with(monkeypatch, f"print({answer!r})")
    with pytest.raises(CannotRead):
        await read(LEGACY, target)


async def test_a_process_that_is_killed_is_our_fault(target: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was told as the package's: too much CPU time."""
    answer_with(monkeypatch, "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(CannotRead):
        await read(LEGACY, target)


async def test_an_endless_answer_is_cut(target: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "ANSWER_BYTES_MAX", 1 << 20)
    answer_with(monkeypatch, "while True: print('x' * 100000)")
    with pytest.raises(PackageRefused, match="too much in it"):
        await read(LEGACY, target)


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "data/../../x", "", "a\0b"])
async def test_paths_that_lead_out_are_not_believed(
    target: pathlib.Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """A process that a package has taken over cannot have a file of the host read as a test."""
    found = await read(LEGACY, target)
    lie = dataclasses.replace(found, cases=(dataclasses.replace(found.cases[0], input=path),))
    answer_with(monkeypatch, f"print({json.dumps({'problem': dataclasses.asdict(lie)})!r})")
    with pytest.raises(CannotRead):
        await read(LEGACY, target)


def test_no_link_is_followed_on_the_way_to_a_file(target: pathlib.Path) -> None:
    write(target, {"real/file": "x"})
    (target / "folder").symlink_to(target / "real")
    (target / "real/link").symlink_to("/etc/passwd")
    os.mkfifo(target / "real/pipe")
    with directory(target) as descriptor:
        os.close(open_beneath(descriptor, "real/file"))
        for path in ("folder/file", "real/link", "real/pipe", "missing", "../target/real/file"):
            with pytest.raises(CannotRead):
                open_beneath(descriptor, path)


def test_the_confined_process_reaches_no_other_file(tmp_path: pathlib.Path) -> None:
    """Landlock, where the kernel has it; no new process and no new privilege anywhere."""
    write(tmp_path / "inside", {"file": "x"})
    write(tmp_path, {"outside": "x"})
    os.chmod(tmp_path, 0o755)
    program = f"""
import ctypes, os, subprocess, sys
from daemon.grading.packages.confinement import confine
folder = os.open({str(tmp_path / "inside")!r}, os.O_RDONLY)
has_landlock = ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1) > 0
confine(folder, os.getppid(), 512 << 20, 10, 1 << 20)
os.fchdir(folder)
assert open("file").read() == "x"
open("new", "w").write("y")
def refused(action):
    try:
        action()
    except OSError:
        return True
    return False
assert refused(os.fork)
assert refused(lambda: open("new", "wb").write(bytes(2 << 20)) and None)
assert not has_landlock or refused(lambda: open({str(tmp_path / "outside")!r}))
status = open("/proc/self/status").read() if not has_landlock else "CapEff:\\t0000000000000000"
assert "CapEff:\\t0000000000000000" in status
assert os.geteuid() != 0
print("done")
"""
    done = subprocess.run(
        [*reading.COMMAND[:1], "-c", program], capture_output=True, text=True, env=reading.ENVIRONMENT, check=False
    )
    assert done.stdout == "done\n", done.stderr


def test_a_folder_is_zipped_with_the_files_its_links_lead_to(tmp_path: pathlib.Path) -> None:
    write(tmp_path / "package", with_files(LEGACY, {".timelimit": "2\n", ".git/config": "x", "run": "#!/bin/sh\n"}))
    write(tmp_path, {"shared.h": "x"})
    package = tmp_path / "package"
    (package / "run").chmod(0o755)
    (package / "data/secret/03.in").symlink_to("01.in")
    (package / "shared.h").symlink_to("../shared.h")
    (package / "passwd").symlink_to("/etc/passwd")
    (package / "gone").symlink_to("nowhere")
    zipped = zip_folder(package, ArchiveLimits())
    with open(zipped.archive, "rb") as file, zipfile.ZipFile(file) as archive:
        names = set(archive.namelist())
        assert archive.read("data/secret/03.in") == b"3 4\n"
        assert stat.S_IMODE(archive.getinfo("run").external_attr >> 16) == 0o755
    assert ".timelimit" in names and ".git/config" not in names
    assert [name for name, _ in zipped.left_out] == ["gone", "passwd", "shared.h"]
    wider = zip_folder(package, ArchiveLimits(), within=tmp_path)
    os.close(wider.archive)
    assert [name for name, _ in wider.left_out] == ["gone", "passwd"]


def test_a_link_that_leads_back_is_refused(tmp_path: pathlib.Path) -> None:
    write(tmp_path, LEGACY)
    (tmp_path / "data/again").symlink_to(tmp_path)
    with pytest.raises(PackageRefused, match="does a link lead back"):
        zip_folder(tmp_path, ArchiveLimits())


def test_the_same_folder_is_the_same_zip(tmp_path: pathlib.Path) -> None:
    contents = []
    for name in ("a", "b"):
        with open(zip_folder(write(tmp_path / name, LEGACY), ArchiveLimits()).archive, "rb") as file:
            file.seek(0)
            contents.append(file.read())
    assert contents[0] == contents[1]
