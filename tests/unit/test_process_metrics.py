"""Prometheus reads of this process what the kernel says, also where a unit hides most of /proc."""

import os
import pathlib
import resource
import subprocess
import sys
import time

import psutil
import pytest
from prometheus_client.registry import Collector

from daemon.api.process_metrics import OfProcess

ROOT = pathlib.Path(__file__).parents[2]
NAMES = {
    "process_cpu_seconds", "process_max_fds", "process_open_fds", "process_resident_memory_bytes",
    "process_start_time_seconds", "process_virtual_memory_bytes",
}  # fmt: skip
MOUNT = 'mount -t proc -o subset=pid,hidepid=invisible proc /proc && ! [ -e /proc/stat ] && exec "$0" -P -c "$1"'
TELL = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from daemon.api.process_metrics import OfProcess
print(*sorted(family.name for family in OfProcess().collect()))
"""


def values(collector: Collector) -> dict[str, float]:
    return {family.name: family.samples[0].value for family in collector.collect()}


def test_they_are_what_the_kernel_says() -> None:
    of_process, process = OfProcess(), psutil.Process()
    before_s = time.process_time()
    found, open_fds = values(of_process), process.num_fds() - 1  # psutil counts its own
    assert set(found) == NAMES
    assert before_s <= found["process_cpu_seconds"] <= time.process_time()
    assert found["process_start_time_seconds"] == pytest.approx(process.create_time(), abs=2)
    assert found["process_max_fds"] == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert found["process_open_fds"] == open_fds
    memory = process.memory_info()
    assert found["process_virtual_memory_bytes"] == pytest.approx(memory.vms, rel=0.1)
    assert found["process_resident_memory_bytes"] == pytest.approx(memory.rss, rel=0.1)


def test_all_are_told_where_only_processes_are_in_proc() -> None:
    """As under cellblock.service (ProcSubset=pid), where /proc/stat is hidden."""
    command = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", MOUNT, sys.executable, TELL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.stderr) == (sorted(NAMES), "")


def test_without_a_free_descriptor_the_others_are_told() -> None:
    of_process = OfProcess()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        found = values(of_process)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert set(found) == {"process_cpu_seconds", "process_max_fds", "process_start_time_seconds"}
