"""Searches its environment, all readable memory and all readable files for a secret of the doctor's.

threat: D9
remedy: The daemon's environment or the host's files reach jails: `environment` and `mounts` of toolchain files.
"""

import hashlib
import os

from attempts import host, tell

OWN = os.urandom(host["secret_bytes"] // 2).hex()  # a search that does not find this one shows nothing
ODD = {"mem", "pagemap", "clear_refs"}
WANTED = {
    "secret": (host["secret_start"].encode(), host["secret_digest"]),  # all but its first half is unknown here
    "own": (OWN[: len(OWN) // 2].encode(), hashlib.sha256(OWN.encode()).hexdigest()),
}


def found_in(held):
    """Names of what is there in whole."""
    found = set()
    for name, (first, digest) in WANTED.items():
        at = held.find(first)
        while at >= 0:
            if hashlib.sha256(held[at : at + len(OWN)]).hexdigest() == digest:
                found.add(name)
            at = held.find(first, at + 1)
    return found


def in_memory():
    """All pages that are mapped, one mapping after the other."""
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            low, high = (int(end, 16) for end in span.split("-"))
            if "r" in rights:
                try:
                    memory.seek(low)
                    yield memory.read(high - low)
                except (OSError, ValueError, OverflowError):
                    continue  # vvar, vsyscall


def in_files():
    """The first megabyte of each file, /proc among them; the toolchain's own files are everybody's."""
    for top, folders, files in os.walk("/"):
        if top in ("/usr", "/dev"):
            folders[:] = []
        for path in (os.path.join(top, name) for name in files if name not in ODD):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
                yield os.read(descriptor, 1 << 20)
                os.close(descriptor)
            except OSError:
                continue


with open("/work/own", "w") as file:
    file.write(OWN)
for place, contents in {"memory": in_memory(), "files": in_files()}.items():
    found = set().union(*map(found_in, contents))
    if "own" not in found:
        raise SystemExit(f"the search of {place} does not find what is there")
    tell(place, "secret" in found)
tell("environment", "secret" in found_in("\n".join(os.environ.values()).encode()))
