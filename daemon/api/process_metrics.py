"""What Prometheus reads of this process itself: time, memory, descriptors, by the names that its clients agree on.

prometheus_client's own collector tells nothing where /proc/stat cannot be read, and systemd's ProcSubset=pid hides it.
"""

import errno
import os
import pathlib
import resource
import time
from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

SELF = pathlib.Path("/proc/self")


class OfProcess(Collector):
    """Reads /proc/self and clocks alone (proc(5), clock_gettime(2))."""

    def __init__(self) -> None:
        ticks = int((SELF / "stat").read_text().rpartition(")")[2].split()[19])  # from boot until its start
        booted_s = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        self._started_s = booted_s + ticks / os.sysconf("SC_CLK_TCK")

    def collect(self) -> Iterable[Metric]:
        """All of them; without a free descriptor only those that need none."""
        yield CounterMetricFamily("process_cpu_seconds", "CPU time of user and system", time.process_time())
        yield GaugeMetricFamily("process_start_time_seconds", "Its start, in seconds since 1970", self._started_s)
        descriptors_max = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        yield GaugeMetricFamily("process_max_fds", "Descriptors that it may have open", descriptors_max)
        try:
            descriptors = len(os.listdir(SELF / "fd")) - 1  # without the one that lists them
            pages, resident = map(int, (SELF / "statm").read_text().split()[:2])
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            return
        yield GaugeMetricFamily("process_open_fds", "Descriptors that it has open", descriptors)
        size = resource.getpagesize()
        yield GaugeMetricFamily("process_virtual_memory_bytes", "Size of its address space", pages * size)
        yield GaugeMetricFamily("process_resident_memory_bytes", "Its memory that is in RAM", resident * size)
