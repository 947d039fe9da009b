"""cellblock runs untrusted programs on a Linux host; this is the theory of operation.

Four kinds of process, each with less power than the one that starts it:

supervisor    `cellblock serve` started by hand (systemd's place in a service). Root. Holds the listening sockets,
              starts the keeper and the HTTP process, starts either again when it dies. Reads nothing from anyone.
HTTP process  aiohttp and pydantic: JSON, validation, queue, responses. Own uid, no capability. It holds no cgroup
              descriptor and no warden's socket; it makes a run's memfd and reads the run's output.
keeper        standard library and seccomp only. Owns the cgroup subtree, starts nsjail, enforces deadlines, kills,
              reads the figures. From its socket it takes toolchain and step ids, numbers, descriptors that it never
              reads, and one opaque payload; commands, paths and environments come from the toolchain files alone.
warden        pid 1 inside a long-lived nsjail (the OUTER wall). Forks jails and never sees a byte of a submission.
              For a step that is warm by fork it is the interpreter itself, stopped just before it opens main.py; a
              frozen copy of it, the zygote, is what programs are forked from.

A jail (the INNER wall) serves one run and is destroyed: own pid, mount, ipc, uts, net and cgroup namespaces, own
cgroup, own host uid, no capability, a seccomp allowlist. `program`, pid 2, is the untrusted code. Of a command `init`,
pid 1, puts the source in place and reports the raw wait status on a private socket; of a fork it only is there, and
the warden, whose child the program is, reports. The keeper's pools hold jails parked: all is ready but the source.

One run, seen from the HTTP process: acquire with limits and source -> acquired [stdin, stdout, stderr] -> outcome. A
compiled language takes two such runs; the artefact travels between them as a sealed memfd and is kept. A service (the
TypeScript checker) is a jail that goes on: it reads submissions, runs none, and only makes things faster.

Imports run one way, and tests/unit/test_imports.py enforces it:

    cli, app -> api -> judge, validation -> toolchain -> sandbox     keeper -> host -> sandbox     warden -> sandbox

Where a promise of this text is broken, the run is refused: nothing ever runs without its limits.
"""
