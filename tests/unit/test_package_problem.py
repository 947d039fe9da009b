"""A package of either format is read into a Problem, or refused with file and key."""

import itertools
import pathlib
from collections.abc import Mapping

import pytest

from daemon.grading.packages import reader
from daemon.grading.packages.problem import (
    Aggregation,
    Format,
    GroupRules,
    LegacyRules,
    OnReject,
    Problem,
    ProblemType,
)  # fmt: skip
from daemon.grading.packages.refusal import PackageRefused
from tests.small_packages import LEGACY, NEW, Files, with_files, write

MIB = 1 << 20
Changes = Mapping[str, str | bytes | None]


@pytest.fixture
def read(tmp_path: pathlib.Path) -> "Read":
    return Read(tmp_path)


class Read:
    """Reads a small package with some files changed; lines after `yaml` are added to its problem.yaml."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root

    def __call__(self, files: Files, changes: Changes | None = None, yaml: str = "") -> Problem:
        changed = with_files(files, changes or {})
        changed["problem.yaml"] = f"{changed['problem.yaml']!s}{yaml}"  # type: ignore[str-bytes-safe]
        return reader.read(write(self.root, changed))

    def refused(self, files: Files, changes: Changes | None = None, yaml: str = "") -> str:
        with pytest.raises(PackageRefused) as caught:
            self(files, changes, yaml)
        return str(caught.value)


def test_a_legacy_package(read: Read) -> None:
    found = read(LEGACY)
    assert (found.format, found.declared_version, found.folder) == (Format.LEGACY, "legacy", "")
    assert found.names == (("en", "Sum"),)
    assert found.types == (ProblemType.PASS_FAIL,)
    assert [case.name for case in found.cases] == ["sample/1", "secret/01", "secret/02"]
    assert [case.is_sample for case in found.cases] == [True, False, False]
    first = found.cases[1]
    assert (first.input, first.answer, first.input_bytes, first.answer_bytes) == (
        "data/secret/01.in", "data/secret/01.ans", 4, 2,
    )  # fmt: skip
    assert found.validator.programs == () and found.validator.flags == ()
    assert (found.timing.limit_s, found.timing.ac_to_time_limit, found.timing.time_limit_to_tle) == (None, 3, 2)
    assert found.warnings == ()


def test_a_package_of_2025_09(read: Read) -> None:
    found = read(NEW)
    assert (found.format, found.uuid) == (Format.V2023_07, "8ee7605a-ab1a-8226-1d71-e346ab1e688d")
    assert (found.timing.ac_to_time_limit, found.timing.time_limit_to_tle, found.timing.resolution_s) == (2, 1.5, 1)
    assert found.warnings == ()


def test_the_package_may_be_a_folder_in_the_zip(tmp_path: pathlib.Path) -> None:
    write(tmp_path / "sum", LEGACY)
    write(tmp_path, {"__MACOSX/sum/._problem.yaml": "x"})
    found = reader.read(tmp_path)
    assert (found.folder, found.cases[0].input) == ("sum", "data/sample/1.in")


def test_two_packages_or_none_are_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(PackageRefused, match=r"problem\.yaml: is missing"):
        reader.read(tmp_path)
    write(tmp_path / "a", LEGACY)
    write(tmp_path / "b", LEGACY)
    with pytest.raises(PackageRefused, match="more than one folder"):
        reader.read(tmp_path)


@pytest.mark.parametrize("version", ["legacy", "legacy-icpc"])
def test_legacy_versions(read: Read, version: str) -> None:
    assert read(LEGACY, yaml=f"problem_format_version: {version}\n").declared_version == version


@pytest.mark.parametrize("version", ["2023-07", "2023-07-draft", "2025-09"])
def test_new_versions(read: Read, version: str) -> None:
    found = read(LEGACY, {"problem.yaml": f"problem_format_version: {version}\nname: {{en: Sum, sv: Summa}}\n"})
    assert found.format is Format.V2023_07 and found.names == (("en", "Sum"), ("sv", "Summa"))


def test_limits_have_units(read: Read) -> None:
    found = read(NEW, yaml="limits: {memory: 512, output: 8, code: 128, compilation_time: 60, compilation_memory: 2048, "
        "validation_time: 30, validation_memory: 1024, validation_output: 4, validation_passes: 7}\n").limits  # fmt: skip
    assert (found.memory_bytes, found.output_bytes, found.code_bytes) == (512 * MIB, 8 * MIB, 128 << 10)
    assert (found.compilation_s, found.compilation_memory_bytes) == (60, 2048 * MIB)
    assert (found.validation_s, found.validation_memory_bytes, found.validation_output_bytes) == (
        30,
        1024 * MIB,
        4 * MIB,
    )
    assert found.passes_max == 7
    assert read(LEGACY).limits.memory_bytes is None


@pytest.mark.parametrize(
    ("files", "yaml", "sentence"),
    [
        (LEGACY, "type: hard", "problem.yaml: type: must be one of pass-fail, scoring"),
        (LEGACY, "validation: custom funny", "problem.yaml: validation: custom has no option 'funny'"),
        (LEGACY, "validation: none", "problem.yaml: validation: must be default"),
        (LEGACY, "validation: custom score", "problem.yaml: validation: score needs type: scoring"),
        (LEGACY, "validation: custom", "output_validators: has no program"),
        (LEGACY, "problem_format_version: 2099-01", "problem.yaml: problem_format_version: '2099-01' is not one of"),
        (LEGACY, "grading: {objective: most}", "problem.yaml: grading.objective: must be one of max, min"),
        (NEW, "type: [pass-fail, scoring]", "problem.yaml: type: pass-fail and scoring exclude each other"),
        (NEW, "type: submit-answer", "problem.yaml: type: submit-answer is not supported"),
        (NEW, "type: interactive", "output_validator: has no program"),
        (NEW, "limits: {time_limit: fast}", "problem.yaml: limits.time_limit: must be a number"),
        (NEW, "limits: {time_multipliers: {ac_to_time_limit: 0.5}}",
            "problem.yaml: limits.time_multipliers.ac_to_time_limit: must be at least 1"),
        (NEW, "limits: 5", "problem.yaml: limits: must be a map"),
        (NEW, "limits: {validation_passes: 101}", "problem.yaml: limits.validation_passes: must be at most 100"),
        (NEW, "constants: {1a: 5}", "problem.yaml: constants.1a: is no name"),
    ],
)  # fmt: skip
def test_errors_name_file_and_key(read: Read, files: Files, yaml: str, sentence: str) -> None:
    assert read.refused(files, yaml=yaml).startswith(sentence)


def test_unknown_keys_are_warnings(read: Read) -> None:
    found = read(NEW, {"data/secret/test_group.yaml": "colour: red"}, "libraries: x\nlimits: {speed: 3}")
    assert set(found.warnings) == {
        "problem.yaml: libraries: is not a key of this format",
        "problem.yaml: limits.speed: is not a key of this format",
        "data/secret/test_group.yaml: colour: is not a key of this format",
    }


def test_the_name_of_a_legacy_package_may_stand_in_its_statement(read: Read) -> None:
    changes = {
        "problem.yaml": "source: x\n",
        "problem_statement/problem.en.tex": "\\problemname{$x$}\n%% plainproblemname: x\n",
        "problem_statement/problem.sv.tex": "\\problemname{Summa}",
        "problem_statement/problem.tex.bak": "\\problemname{No}",
    }
    assert dict(read(LEGACY, changes).names) == {"en": "x", "sv": "Summa"}


@pytest.mark.parametrize(
    ("changes", "yaml", "limit", "source"),
    [
        ({}, "", None, None),
        ({}, "limits: {time_limit: 2.5}", 2.5, "problem.yaml"),
        ({".timelimit": "3\n"}, "", 3, ".timelimit"),
        ({".timelimit": "3\n"}, "limits: {time_limit: 2}", 2, "problem.yaml"),
        ({"domjudge-problem.ini": "name = 'x'\ntimelimit = '4'\n"}, "", 4, "domjudge-problem.ini"),
        ({"domjudge-problem.ini": "timelimit=4", ".timelimit": "3"}, "", 3, ".timelimit"),
    ],
)
def test_where_the_time_limit_comes_from(
    read: Read, changes: Changes, yaml: str, limit: float | None, source: str | None
) -> None:
    found = read(NEW, changes, yaml)
    assert (found.timing.limit_s, found.timing.source) == (limit, source)
    assert len(found.warnings) == (len(changes) + bool(yaml) > 1)


@pytest.mark.parametrize("text", ["", "fast", "0", "-1", "nan", "1e9"])
def test_a_time_limit_that_is_none_is_refused(read: Read, text: str) -> None:
    assert read.refused(LEGACY, {".timelimit": text}).startswith(".timelimit: must be a number of seconds")


def test_order_of_legacy_tests_is_that_of_base_names(read: Read) -> None:
    """Groups and tests one among the other; 10 is before 2, and 1 before 1-x."""
    names = ["1", "1-x", "10", "2", "b/1", "a/1"]
    changes = {f"data/secret/{name}{end}": "" for name in names for end in (".in", ".ans")}
    found = read(with_files(LEGACY, {"data/secret/01.in": None, "data/secret/01.ans": None}), changes)
    order = ["1", "1-x", "10", "2", "a/1", "b/1"]
    assert [case.name for case in found.cases[1:]] == ["secret/02", *(f"secret/{name}" for name in order)]
    secret = next(group for group in found.groups if group.name == "secret")
    assert secret.items == tuple(f"secret/{name}" for name in ("02", "1", "1-x", "10", "2", "a", "b"))


def test_order_of_new_tests_is_that_of_names(read: Read) -> None:
    changes = {f"data/secret/{name}{end}": "" for name in ("z/1", "z-a/1", "z/sub/1") for end in (".in", ".ans")}
    found = read(NEW, changes)
    order = ["01", "02", "z-a/1", "z/1", "z/sub/1"]
    assert [case.name for case in found.cases[1:]] == [f"secret/{name}" for name in order]
    assert {case.group for case in found.cases[1:]} == {"secret"}


def test_legacy_groups_inherit(read: Read) -> None:
    changes = {
        "data/testdata.yaml": "on_reject: continue\nrange: 0 100\ngrader_flags: ignore_sample\n",
        "data/secret/testdata.yaml": "grader_flags: first_error accept_if_any_accepted\noutput_validator_flags: a b\n",
        "data/secret/g/testdata.yaml": "on_reject: break\naccept_score: 50\nrange: 0 50\ngrader_flags: min\n",
        "data/secret/g/1.in": "", "data/secret/g/1.ans": "",
        "data/secret/h/1.in": "", "data/secret/h/1.ans": "",
        "data/secret/h/testdata.yaml": "output_validator_flags: {name: v, flags: c}\n",
    }  # fmt: skip
    found = read(LEGACY, changes, "type: scoring\nvalidator_flags: x\n")
    groups = {group.name: group for group in found.groups}
    assert list(groups) == ["", "sample", "secret", "secret/g", "secret/h"]
    assert [group.parent for group in found.groups] == [None, "", "", "secret", "secret"]
    assert groups["secret/g"].rules == LegacyRules(OnReject.BREAK, "default", ("min",), 50, 0, 0, 50)
    assert groups["sample"].rules == LegacyRules(OnReject.CONTINUE, "default", ("ignore_sample",), 1, 0, 0, 100)
    assert groups["sample"].declared == () and "accept_score" in groups["secret/g"].declared
    args = {case.name: case.validator_args for case in found.cases}
    assert args["sample/1"] == ("x",) and args["secret/g/1"] == ("x", "a", "b") and args["secret/h/1"] == ("x", "c")


def test_legacy_defaults(read: Read) -> None:
    rules = read(LEGACY, yaml="type: scoring\n").groups[0].rules
    assert rules == LegacyRules(OnReject.BREAK, "default", (), 1, 0, float("-inf"), float("inf"))


def test_older_keys_of_grading_are_defaults(read: Read) -> None:
    found = read(LEGACY, yaml="type: scoring\ngrading: {objective: min, accept_score: 2, on_reject: grade}\n")
    rules = found.groups[-1].rules
    assert isinstance(rules, LegacyRules) and not found.maximize
    assert (rules.accept_score, rules.on_reject) == (2, OnReject.CONTINUE)


def test_groups_of_2025_09(read: Read) -> None:
    changes = {
        "data/secret/01.in": None, "data/secret/01.ans": None, "data/secret/02.in": None, "data/secret/02.ans": None,
        "data/secret/test_group.yaml": "output_validator_args: [float_tolerance, 1e-6]\n",
        "data/secret/g1/test_group.yaml": "max_score: 40\n", "data/secret/g1/1.in": "", "data/secret/g1/1.ans": "",
        "data/secret/g1/d/2.in": "", "data/secret/g1/d/2.ans": "",
        "data/secret/g2/test_group.yaml": "max_score: 60\nscore_aggregation: min\nrequire_pass: [sample, secret/g1]\n",
        "data/secret/g2/1.in": "", "data/secret/g2/1.ans": "",
        "data/secret/g2/1.yaml": "args: [-v]\noutput_validator_args: []\nfull_feedback: true\nhint: x\n",
        "data/secret/g2/1.files/table.txt": "", "data/secret/g2/1.files/also.in": "",
    }  # fmt: skip
    found = read(NEW, changes, "type: scoring\n")
    groups = {group.name: group for group in found.groups}
    assert groups["secret"].rules == GroupRules(100, Aggregation.SUM, ())
    assert groups["secret/g1"].rules == GroupRules(40, Aggregation.PASS_FAIL, ())
    assert groups["secret/g2"].rules == GroupRules(60, Aggregation.MIN, ("sample", "secret/g1"))
    assert groups["secret"].items == ("secret/g1", "secret/g2")
    cases = {case.name: case for case in found.cases}
    assert list(cases) == ["sample/1", "secret/g1/1", "secret/g1/d/2", "secret/g2/1"]
    assert cases["secret/g1/d/2"].group == "secret/g1"
    assert cases["secret/g1/1"].validator_args == ("float_tolerance", "1e-6")
    last = cases["secret/g2/1"]
    assert (last.args, last.validator_args, last.full_feedback) == (("-v",), (), True)
    assert last.files == "data/secret/g2/1.files"
    assert cases["sample/1"].full_feedback and not cases["secret/g1/1"].full_feedback
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"data/secret/g/test_group.yaml": "", "data/secret/g/1.in": "", "data/secret/g/1.ans": ""},
            "data/secret/01.in: is in no group"),
        ({"data/secret/03.in": ""}, "data/secret/03.in: there is no 03.ans"),
        ({"data/secret/test_group.yaml": "static_validation_score: 3"},
            "data/secret/test_group.yaml: static_validation_score: static validators are not supported"),
        ({"data/sample/g/test_group.yaml": "", "data/sample/g/1.in": "", "data/sample/g/1.ans": ""},
            "data/sample/g/test_group.yaml: there are groups in data/secret only"),
        ({"data/secret/test_group.yaml": "max_score: -1"}, "data/secret/test_group.yaml: max_score: must be at least 0"),
        ({"data/secret/test_group.yaml": "score_aggregation: max"},
            "data/secret/test_group.yaml: score_aggregation: must be one of pass-fail, sum, min"),
        ({"static_validator/v.py": ""}, "static_validator: static validators are not supported"),
        ({"data/secret/testdata.yaml": "scoring: {score: 30}"},
            "data/secret/testdata.yaml: scoring: is a map of a draft of the format"),
    ],
)  # fmt: skip
def test_test_data_that_breaks_a_rule_is_refused(read: Read, changes: Changes, sentence: str) -> None:
    assert read.refused(NEW, changes, "type: scoring\n").startswith(sentence)


def test_drafts_of_2023_07_may_have_legacy_groups(read: Read) -> None:
    """As Kattis' own example oddecho does."""
    changes = {
        "data/testdata.yaml": "on_reject: continue\ngrader_flags: ignore_sample\n",
        "data/secret/01.args": "a b\n",
    }
    found = read(NEW, changes, "type: scoring\n")
    assert isinstance(found.groups[0].rules, LegacyRules)
    assert found.cases[1].args == ("a", "b")


def test_tests_without_an_input_and_other_folders_are_told(read: Read) -> None:
    found = read(LEGACY, {"data/secret/3.ans": "", "data/extra/1.in": "", "data/invalid_inputs/1.in": ""})
    assert found.warnings == (
        "data/extra: is not used; tests are in data/sample and data/secret",
        "data/secret/3.ans: is not used: there is no 3.in",
    )


def test_a_package_without_a_test_is_refused(read: Read) -> None:
    tests = {name: None for name in LEGACY if name.startswith("data/")}
    assert read.refused(LEGACY, {**tests, "data/secret/x.txt": ""}).startswith("data: has no test")


def test_samples_of_interactive_problems_are_no_tests(read: Read) -> None:
    changes = {
        "data/sample/1.in": None, "data/sample/1.ans": None, "data/sample/1.interaction": "> 1\n",
        "output_validators/v/v.cc": "", "output_validators/v/v.h": "",
    }  # fmt: skip
    found = read(LEGACY, changes, "validation: custom interactive\n")
    assert found.is_interactive and not found.is_multi_pass
    assert [case.name for case in found.cases] == ["secret/01", "secret/02"]
    (program,) = found.validator.programs
    assert (program.name, program.path, program.is_folder, program.language) == (
        "v",
        "output_validators/v",
        True,
        "cpp",
    )
    assert program.files == ("output_validators/v/v.cc", "output_validators/v/v.h")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["output_validators/v.py"], [("output_validators/v.py", "python3", False)]),
        (["output_validators/v.cc", "output_validators/validate.h"], [("output_validators", "cpp", False)]),
        (["output_validators/v/build", "output_validators/v/x.c"], [("output_validators/v", "c", True)]),
        (["output_validators/a.py", "output_validators/b.py"],
            [("output_validators/a.py", "python3", False), ("output_validators/b.py", "python3", False)]),
        (["output_validator/v.py"], [("output_validator/v.py", "python3", False)]),
    ],
)  # fmt: skip
def test_programs_of_legacy_validators(read: Read, names: list[str], expected: list[tuple[str, str, bool]]) -> None:
    found = read(LEGACY, dict.fromkeys(names, ""), "validation: custom\n")
    assert [(one.path, one.language, one.build) for one in found.validator.programs] == expected


@pytest.mark.parametrize(
    ("names", "path"),
    [
        (["output_validator/v.py"], "output_validator/v.py"),
        (["output_validator/a.cc", "output_validator/b.cc"], "output_validator"),
        (["output_validator/guess/v.cc", "output_validator/guess/v.h"], "output_validator/guess"),
    ],
)
def test_the_program_of_a_new_validator(read: Read, names: list[str], path: str) -> None:
    (program,) = read(NEW, dict.fromkeys(names, ""), "type: [interactive, multi-pass]\n").validator.programs
    assert program.path == path


def test_a_validator_that_the_package_does_not_name_is_not_used(read: Read) -> None:
    found = read(LEGACY, {"output_validators/v.py": ""})
    assert found.validator.programs == ()
    assert found.warnings == ("output_validators: is not used: problem.yaml says validation: default",)


def test_constants_are_put_in(read: Read) -> None:
    changes = {
        "include/default/limits.h": "{{n}} {{n.tex}} {{k}} {{other}}",
        "data/secret/test_group.yaml": "args: ['{{k}}']",
    }
    found = read(NEW, changes, "constants: {n: {value: 5000, tex: '5,000'}, k: 7}\n")
    assert (read.root / "include/default/limits.h").read_text() == "5000 5,000 7 {{other}}"
    assert found.cases[1].args == ("7",)
    assert found.includes[0].language == "default"


def test_constants_that_name_each_other_are_not_put_into_each_other(read: Read) -> None:
    """Forty that each name the next one twice would be a terabyte."""
    names = [f"n{number}" for number in range(41)]
    values = "".join(f"  {name}: '{{{{{other}}}}}{{{{{other}}}}}'\n" for name, other in itertools.pairwise(names))
    read(NEW, {"include/default/limits.h": "{{n0}}"}, f"constants:\n{values}  n40: x\n")
    assert (read.root / "include/default/limits.h").read_text() == "{{n1}}{{n1}}"


def test_a_file_that_constants_would_make_too_large_is_refused_before_it_is_made(read: Read) -> None:
    """Ten gigabytes, from a small zip."""
    changes: Changes = {"include/default/limits.h": "{{n}}" * 200_000}
    refusal = read.refused(NEW, changes, f"constants: {{n: {'x' * 60_000}}}\n")
    assert refusal == "include/default/limits.h: is too large with the constants of problem.yaml put in"


def test_hidden_files_are_not_there_and_odd_names_are_told(read: Read) -> None:
    changes = {
        "data/secret/.3.in": "", "submissions/.git/x": "", "submissions/accepted/.x.py": "",
        "submissions/accepted/a b.c++": "",
    }  # fmt: skip
    found = read(LEGACY, changes)
    assert [one.name for one in found.submissions] == [
        "accepted/a b.c++", "accepted/sum.py", "wrong_answer/minus.cc",
    ]  # fmt: skip
    assert found.warnings == ("submissions/accepted/a b.c++: the format does not allow this name",)


def test_links_are_not_followed(read: Read, tmp_path: pathlib.Path) -> None:
    write(tmp_path, LEGACY)
    (tmp_path / "data/secret/3.in").symlink_to("/etc/passwd")
    (tmp_path / "data/secret/3.ans").symlink_to("/etc/passwd")
    assert len(reader.read(tmp_path).cases) == 3
