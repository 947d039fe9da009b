"""cellblock runs untrusted programs on a Linux host; this is the theory of operation.

Four kinds of process, each with less power than the one that starts it:

supervisor    `cellblock serve` started by hand (systemd's place in a service). Root. Holds the listening sockets,
              starts the keeper and the HTTP process, starts either again when it dies or hangs. Reads nothing else.
HTTP process  aiohttp and pydantic: JSON, validation, admission, responses. Own uid, no capability. It holds no cgroup
              descriptor and no warden's socket; it makes a run's memfd and reads the run's output.
keeper        Standard library and seccomp only. Owns the cgroup subtree, starts nsjail, enforces deadlines, kills,
              reads the figures. From its socket it takes ids, numbers, a program's arguments and descriptors that it
              never reads; commands, paths and environments come from the toolchain files alone.
warden        Pid 1 inside a long-lived nsjail (the outer wall). Makes jails and never sees a byte of a submission.
              For a step that is warm by fork it is the interpreter itself, stopped just before it opens main.py; a
              frozen copy of it, the zygote, is what programs are forked from.

A jail serves one run and is destroyed: own pid, mount, ipc, uts, net and cgroup namespaces, own cgroup, own host uid,
no capability, a seccomp allowlist. warden/native/jail.c makes it. The program is the untrusted code. A command's init,
pid 1 of the jail, puts the source in place, starts the program and reports its raw wait status on a private socket. A
fork's init only holds the namespaces; the program is the warden's child, and the warden reports. The keeper's pools
hold jails parked: all is ready but the source.

One run, seen from the HTTP process: Run [source, input] -> Started [stdin, stdout, stderr] -> Ended. A compiled
language takes two such runs; the artefact travels between them as a sealed memfd and is kept. A service (tsc, javac) is
a jail that goes on: it reads submissions, runs none, and only makes things faster.

The rooms, and which way imports run (tests/unit/test_imports.py enforces it):

    cli, app, launch     what is started, and with which parts
    mcp_server           tools for agents: a client of the API, in a process of its own
    addresses, logs, places, settings                what those parts share
    dialects             the APIs of other servers
    api                  HTTP                    validation    constructs that a deployment does not want
    grading              runs submissions on tests; verdicts, comparison, scores; packages: an uploaded problem
    judge                what a submission is, and what became of it
    toolchain            languages as data
    turns                whose turn it is, fair among clients
    keeper               pure states, and one shell that performs their effects
    warden               runs inside nsjail      host          this host: control groups, instances, privileges
    sandbox              words that all share: limits, outcomes, plans, messages; and the client of the keeper

    cli, app -> dialects -> api -> grading -> judge; api -> validation; both -> toolchain -> sandbox
    api, grading -> turns         keeper -> host -> sandbox     warden -> sandbox

docs/architecture.md has the picture, the states of a jail, who watches whom and a glossary. Where a promise of this
text is broken, the run is refused: nothing ever runs without its limits.
"""
