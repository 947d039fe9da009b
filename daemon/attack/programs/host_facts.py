"""Asks for facts of the host: its kernel's release, its uptime and load, counters of its network code.

threat: K2
accepted: `uname` and `/proc/self/status` show the host's kernel release and CPU count.
remedy: A host or a virtual machine for cellblock alone.
"""

import os
import pathlib

from attempts import attempt

attempt("kernel release", lambda: os.uname().release)
attempt("load", os.getloadavg)
attempt("memory of the host", os.sysconf, "SC_PHYS_PAGES")
attempt("counters of network code", pathlib.Path("/proc/self/net/softnet_stat").read_text)
attempt("where toolchains are on the host", pathlib.Path("/proc/self/mountinfo").read_text)
