"""Calls what has many holes behind it or sees others: bpf, io_uring, keys, perf events, tracing, modules.

threat: K1
needs: x86-64
remedy: Take the calls that answered out of inner.toml; the shipped file says why they are not in it.
"""

from attempts import refused

CALLS = {
    "bpf": (321, 0, 0, 0), "perf_event_open": (298,), "userfaultfd": (323, 0), "io_uring_setup": (425, 8, 0),
    "io_uring_enter": (426,), "io_uring_register": (427,), "keyctl": (250, 0), "add_key": (248,), "request_key": (249,),
    "ptrace (attach)": (101, 16, 0), "process_vm_readv": (310,), "process_vm_writev": (311,), "pidfd_getfd": (438,),
    "kcmp": (312,), "process_madvise": (440,), "splice": (275,), "tee": (276,), "vmsplice": (278,),
    "move_pages": (279,), "migrate_pages": (256,), "mbind": (237,), "set_mempolicy": (238,), "memfd_secret": (447, 0),
    "kexec_load": (246,), "kexec_file_load": (320,), "init_module": (175,), "finit_module": (313,), "reboot": (169,),
    "acct": (163, 0), "syslog": (103, 3, 0, 0), "iopl": (172, 3), "ioperm": (173, 0, 1, 1),
    "modify_ldt": (154, 0, 0, 0), "sethostname": (170,), "settimeofday": (164,), "clock_settime": (227,),
    "landlock_create_ruleset": (444,), "seccomp (ask)": (317, 2), "personality that maps page 0": (135, 0x100000),
    "mknod of a device": (133, 0, 0o20600, 0x103), "mknodat of a device": (259, -100, 0, 0o60600, 0x103),
}  # fmt: skip

for name, call in CALLS.items():
    refused(name, *call)
