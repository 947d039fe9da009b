"""The kernel's lists of processors, and which of them graded runs may have."""

import pathlib

import pytest

from daemon.host import cores

SMT = {0: "0,4", 1: "1,5", 4: "0,4", 5: "1,5"}  # two physical cores, two hardware threads each


@pytest.fixture
def sys_folder(tmp_path: pathlib.Path) -> pathlib.Path:
    for core, siblings in SMT.items():
        topology = tmp_path / f"devices/system/cpu/cpu{core}/topology"
        topology.mkdir(parents=True)
        (topology / "core_cpus_list").write_text(f"{siblings}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "found"),
    [("", ()), ("\n", ()), ("0", (0,)), ("0-3,6\n", (0, 1, 2, 3, 6)), ("6,0-1,1", (0, 1, 6)), ("5-5", (5,))],
)
def test_a_list_names_cores_in_order(text: str, found: tuple[int, ...]) -> None:
    assert cores.parse(text) == found


@pytest.mark.parametrize("text", ["a", "-1", "1-", "1-2-3", "3-1", "0x1", "8192", "0-99999999999", "1 2", "1:2"])
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        cores.parse(text)


@pytest.mark.parametrize("text", ["", "0", "0-1", "0-3,6", "1,3,5-8"])
def test_a_list_is_written_as_it_was_read(text: str) -> None:
    assert cores.as_list(cores.parse(text)) == text


def test_by_default_one_hardware_thread_of_each_core_is_graded_on(sys_folder: pathlib.Path) -> None:
    assert cores.to_grade_on((0, 1, 4, 5), None, sys_folder) == (0, 1)
    assert cores.to_grade_on((1, 4, 5), None, sys_folder) == (1, 4)


def test_where_the_kernel_tells_no_siblings_every_core_is_graded_on(tmp_path: pathlib.Path) -> None:
    assert cores.to_grade_on((0, 1, 2), None, tmp_path) == (0, 1, 2)


def test_the_administrator_decides(sys_folder: pathlib.Path) -> None:
    assert cores.to_grade_on((0, 1, 4, 5), (0, 4), sys_folder) == (0, 4)


def test_a_core_that_cannot_be_used_is_named(sys_folder: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="grade_cores: 6-7 cannot be used; there are: 0-1,4-5"):
        cores.to_grade_on((0, 1, 4, 5), (4, 6, 7), sys_folder)
    with pytest.raises(ValueError, match="there are: none, because this host cannot pin"):
        cores.to_grade_on((), (0,), sys_folder)
