"""What the end of a probe means (daemon/attack): shut, open with its remedy, accepted with its reason, or that nothing was
shown. And what the documents say of the probes is what these say of themselves."""

import ast
import dataclasses
import json
import pathlib
import re

import pytest

from daemon import host_walls
from daemon.attack import probe, verdict
from daemon.attack.probe import BadProbe, End, Probe
from daemon.attack.verdict import Row, State, Trial
from daemon.finding import Grade
from daemon.judge.submission import Reason, Report
from daemon.sandbox.model import Limits
from tests.documents import ROOT
from tests.unit.test_threats import rows

FORKED, COMMAND = "a forked program's jail", "a command's jail"
LIMITS = Limits(128 << 20, 10**9, 64, cpu_share_ms=500)
OUTPUT_BYTES = 1000
TRIES = Probe("tries", b"", "K1", "Tries something", "Shut it.")
MUST_END = dataclasses.replace(TRIES, end=End(Reason.TIME_LIMIT), late_s=0.1)
KNOWN = dataclasses.replace(TRIES, accepted="Locks are shared")


def report(*attempts: tuple[str, bool], **changes: object) -> Report:
    lines = [json.dumps({"tried": tried, "open": is_open, "answer": "answered 0"}) for tried, is_open in attempts]
    good = Report(
        Reason.EXITED, None, "\n".join(lines).encode(), b"", exit_code=0, signal=None, wall_ns=10**7, cpu_ns=10**6,
        compile_ns=0, memory_bytes=1 << 20, truncated=False,
    )  # fmt: skip
    return dataclasses.replace(good, **changes)


def trial(found: Report, kind: str = FORKED, took_s: float = 0.01) -> Trial:
    return Trial(kind, LIMITS, OUTPUT_BYTES, found, took_s)


def test_what_refuses_all_attempts_is_shut() -> None:
    row = verdict.judge(TRIES, [trial(report(("mount", False), ("bpf", False)))])
    assert row == Row("K1", "Tries something", State.SHUT)
    assert not row.is_bad


def test_one_attempt_that_works_is_open_and_has_a_remedy() -> None:
    row = verdict.judge(TRIES, [trial(report(("mount", True), ("bpf", False)), kind) for kind in (FORKED, COMMAND)])
    assert row == Row("K1", "Tries something", State.OPEN, "mount: answered 0", "Shut it.")
    assert row.is_bad


def test_what_works_in_one_kind_of_jail_is_open_and_the_kind_is_named() -> None:
    row = verdict.judge(TRIES, [trial(report(("mount", False))), trial(report(("mount", True)), COMMAND)])
    assert (row.state, row.why) == (State.OPEN, "mount: answered 0, in a command's jail")


def test_what_is_known_is_accepted_with_its_reason_unless_a_limit_was_broken() -> None:
    row = verdict.judge(KNOWN, [trial(report(("flock", True)))])
    assert row.state is State.ACCEPTED
    assert "Locks are shared" in row.why and "jail_configs/README.md" in row.why
    assert verdict.judge(KNOWN, [trial(report(("flock", False)))]).state is State.SHUT
    assert verdict.judge(KNOWN, [trial(report(("flock", True), stderr=b"x" * 1000))]).state is State.OPEN


@pytest.mark.parametrize(
    "found",
    [
        report(),
        report(("mount", False), exit_code=1, stderr=b"Traceback\nOSError: x"),
        report(("mount", False), reason=Reason.MEMORY_LIMIT, exit_code=None),
    ],
    ids=["nothing tried", "an exception", "a limit"],
)
def test_a_probe_that_went_wrong_shows_nothing_and_is_not_well(found: Report) -> None:
    row = verdict.judge(TRIES, [trial(report(("mount", False))), trial(found, COMMAND)])
    assert row.state is State.FAILED
    assert row.is_bad
    assert ("CELLBLOCK_MEMORY_MB" in row.remedy) == (found.reason is Reason.MEMORY_LIMIT)


def test_what_was_found_open_stays_open_when_the_probe_breaks_off() -> None:
    broke_off = report(("mount", True), exit_code=1, stderr=b"OSError")
    assert verdict.judge(TRIES, [trial(broke_off), trial(report(("mount", False)), COMMAND)]).state is State.OPEN
    assert verdict.judge(KNOWN, [trial(broke_off)]).state is State.FAILED


@pytest.mark.parametrize(
    ("found", "took_s", "why"),
    [
        (report(("x", False)), 0.1, "it ended with exited 0 instead of time_limit"),
        (report(reason=Reason.TIME_LIMIT, exit_code=None), 1.3, "its end was known 0.30 s after its time limit"),
        (report(reason=Reason.TIME_LIMIT, exit_code=None, stdout=b"x" * 1001), 1, "1001 bytes of output"),
        (report(reason=Reason.TIME_LIMIT, exit_code=None, wall_ns=10**9, cpu_ns=2 * 10**9), 1, "2.00 s of processor"),
        (report(reason=Reason.TIME_LIMIT, exit_code=None, cpu_ns=None), 1, "unknown of processor time"),
    ],
    ids=["another end", "late", "output", "share", "no figure"],
)
def test_a_limit_that_did_not_hold_is_open(found: Report, took_s: float, why: str) -> None:
    row = verdict.judge(MUST_END, [trial(found, took_s=took_s)])
    assert row.state is State.OPEN
    assert row.why.startswith(why), row.why


def test_output_at_its_limit_is_cut_exactly() -> None:
    floods = dataclasses.replace(TRIES, end=End(Reason.OUTPUT_LIMIT))
    for size, state in ((OUTPUT_BYTES, State.SHUT), (OUTPUT_BYTES - 1, State.OPEN)):
        found = report(reason=Reason.OUTPUT_LIMIT, exit_code=None, stdout=b"x" * size, truncated=True)
        assert verdict.judge(floods, [trial(found)]).state is state


@pytest.mark.parametrize(
    ("docstring", "wrong"),
    [
        ("Tries.\n\nthreat: K1\n", "a remedy among them"),
        ("Tries.\n\nthreat: K1\nremedy: x\nremdy: y\n", "keys of"),
        ("Tries.\n\nthreat: K1\nremedy: x\nends: badly\n", "badly"),
        ("Tries.\n\nthreat: K1\nremedy: x\nbeside: none.py\n", "none.py"),
    ],
)
def test_a_docstring_that_says_something_else_is_refused(tmp_path: pathlib.Path, docstring: str, wrong: str) -> None:
    path = tmp_path / "tries.py"
    path.write_text(f'"""{docstring}"""\n')
    with pytest.raises(BadProbe, match=re.escape(wrong)):
        probe.read(path)


def test_the_list_of_threats_says_which_the_doctor_tries() -> None:
    found = re.search(r"`cellblock doctor --attack` tries ([^.]*) on a host", (ROOT / "docs/threats.md").read_text())
    assert found is not None
    said = re.findall(r"[A-Z][0-9]+", found[1])
    tried = {one.threat for one in probe.load()} | {"P2"}  # runner.py looks for what is left
    assert sorted(said) == sorted(tried)
    assert tried <= set(rows())


def test_what_a_probe_finds_accepted_is_in_the_list_of_what_is() -> None:
    known = (ROOT / "jail_configs" / "README.md").read_text().partition("\n## Known and accepted\n")[2]
    accepted = [one.accepted for one in probe.load() if one.accepted is not None]
    assert len(accepted) > 1
    assert [text for text in accepted if f"- {text}" not in known] == []


def test_every_program_is_a_probe_or_serves_one() -> None:
    """And a system call by its number is tried on the machine that has these numbers alone."""
    files = {path.stem: ast.parse(path.read_text()) for path in probe.FOLDER.glob("*.py")}
    probes = {one.name: one for one in probe.load()}
    assert set(files) - set(probes) == {"attempts", "leaves_things"}
    by_number = {"ask", "refused", "cloned"}
    for name, tree in files.items():
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
        if name in probes and imported & by_number:
            assert probes[name].needs == "x86-64", name


def test_the_host_is_told_of_holes_that_its_kernel_knows(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "vulnerabilities"
    assert host_walls.processor(tmp_path).grade is Grade.UNKNOWN
    folder.mkdir()
    for text, grade in {
        "Not affected": Grade.OK,
        "Mitigation: PTI": Grade.OK,
        "Vulnerable": Grade.WARN,
        "Mitigation: Clear CPU buffers; SMT vulnerable": Grade.WARN,
    }.items():
        (folder / "mds").write_text(f"{text}\n")
        assert host_walls.processor(tmp_path).grade is grade, text


def test_the_host_is_told_which_second_walls_are_missing(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "value"
    assert (
        host_walls.bpf(path).grade is host_walls.faults(path).grade is host_walls.crashes(path).grade is Grade.UNKNOWN
    )
    for value, bpf, faults in (("0", Grade.WARN, Grade.OK), ("1", Grade.OK, Grade.WARN), ("2", Grade.OK, Grade.OK)):
        path.write_text(f"{value}\n")
        assert (host_walls.bpf(path).grade, host_walls.faults(path).grade) == (bpf, faults)
    path.write_text("|/usr/lib/systemd/systemd-coredump %P\n")
    assert "systemd-coredump" in host_walls.crashes(path).fact
    assert (host_walls.landlock(0).grade, host_walls.landlock(-1).grade, host_walls.landlock(4).grade) == (
        Grade.WARN, Grade.WARN, Grade.OK,
    )  # fmt: skip
