"""Mounts and unmounts, by the old and the new system calls.

threat: K1
needs: x86-64
remedy: Take the calls of mount(2) and its newer kin out of inner.toml.
"""

from attempts import refused

CALLS = {
    "mount": (165, 0, 0, 0, 0, 0), "umount2": (166, 0, 0), "open_tree": (428, -100, 0, 0), "move_mount": (429,),
    "fsopen": (430, 0, 0), "fsconfig": (431,), "fsmount": (432,), "fspick": (433,), "mount_setattr": (442,),
    "swapon": (167,), "quotactl": (179,), "name_to_handle_at": (303,), "open_by_handle_at": (304,),
}  # fmt: skip

for name, call in CALLS.items():
    refused(name, *call)
