"""The doctor warns of what makes a host unfair, by what the host's files say; what is not there is unknown."""

import pathlib

import pytest

from daemon import host_fairness
from daemon.finding import Finding, Grade

CPU = "sys/devices/system/cpu"
FAIR = {
    f"{CPU}/cpu0/topology/core_cpus_list": "0", f"{CPU}/cpu1/topology/core_cpus_list": "1",
    f"{CPU}/cpu0/cpufreq/scaling_governor": "performance", f"{CPU}/cpu1/cpufreq/scaling_governor": "performance",
    f"{CPU}/intel_pstate/no_turbo": "1", f"{CPU}/isolated": "1",
    "proc/swaps": "Filename Type Size Used Priority", "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never",
    "proc/stat": "cpu  10 0 0 200 0 0 0 0 0 0\ncpu0 5 0 0 100 0 0 0 0 0 0\ncpu1 5 0 0 100 0 0 0 0 0 0\nintr 1 2",
}  # fmt: skip


def examine(folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch, **changed: str) -> dict[str, Finding]:
    monkeypatch.setattr(host_fairness, "SAMPLE_S", 0)
    for name, text in {**FAIR, **changed}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return {found.name: found for found in host_fairness.examine((0, 1), folder / "sys", folder / "proc")}


def test_a_fair_host_is_only_praised(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = examine(tmp_path, monkeypatch)
    assert {finding.grade for finding in found.values()} == {Grade.OK}, found
    assert found["other work"].fact == "none now; isolated graded cores: 1"


@pytest.mark.parametrize(
    ("file", "text", "name", "said", "hint"),
    [
        (f"{CPU}/cpu0/topology/core_cpus_list", "0-1", "smt", "graded cores 0 share", "grade_cores"),
        (f"{CPU}/cpu0/topology/core_cpus_list", "0,4", "smt", "second thread", "smt/control"),
        (f"{CPU}/cpu1/cpufreq/scaling_governor", "powersave", "governor", "performance, powersave", "cpupower"),
        (f"{CPU}/intel_pstate/no_turbo", "0", "turbo", "on", "echo 1 > /sys/devices/system/cpu/intel_pstate/no_turbo"),
        ("proc/swaps", "Filename\n/dev/sda2 partition 8 0 -2", "swap", "on (1)", "swapoff"),
        ("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never", "hugepages", "always", "madvise"),
    ],
)
def test_each_cause_is_one_warning_with_what_to_do(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str, name: str, said: str, hint: str
) -> None:
    found = examine(tmp_path, monkeypatch, **{file: text})
    assert [finding.name for finding in found.values() if finding.grade is not Grade.OK] == [name]
    assert found[name].grade is Grade.WARN
    assert said in found[name].fact and hint in found[name].hint


def test_boost_of_other_drivers_is_turbo_too(tmp_path: pathlib.Path) -> None:
    (tmp_path / "cpufreq").mkdir()
    (tmp_path / "cpufreq/boost").write_text("1\n")
    found = host_fairness.turbo(tmp_path)
    assert (found.grade, found.hint) == (Grade.WARN, "echo 0 > /sys/devices/system/cpu/cpufreq/boost")


def test_on_a_host_that_tells_nothing_all_is_unknown(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_fairness, "SAMPLE_S", 0)
    found = list(host_fairness.examine((0, 1), tmp_path / "sys", tmp_path / "proc"))
    assert len(found) == 6
    assert {finding.grade for finding in found} == {Grade.UNKNOWN}


def test_other_work_on_a_graded_core_is_told_and_on_another_core_not() -> None:
    before = {0: [0] * 10, 1: [0] * 10}
    after = {0: [30, 0, 10, 60, 0, 0, 0, 0, 0, 0], 1: [0, 0, 0, 100, 0, 0, 0, 0, 0, 0]}
    found = host_fairness.other_work((0, 1), before, after, None)
    assert (found.grade, found.fact) == (Grade.WARN, "busy while nothing is graded: core 0 40%")
    assert host_fairness.other_work((1,), before, after, None).grade is Grade.OK


def test_time_that_the_machines_host_took_is_told() -> None:
    before = {0: [0] * 10}
    after = {0: [1, 0, 0, 97, 0, 0, 0, 2, 0, 0]}
    found = host_fairness.other_work((0,), before, after, None)
    assert (found.grade, found.fact) == (Grade.WARN, "the host of this machine took core 0 2.0%")
