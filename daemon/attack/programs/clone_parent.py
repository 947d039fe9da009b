"""Makes a process that is not its own child but its parent's, where nobody waits for it.

threat: U2
needs: x86-64
remedy: In inner.toml clone's mask has CLONE_PARENT (0x8000), and clone3 is not allowed.
"""

from attempts import cloned

CLONE_PARENT, SIGCHLD = 0x8000, 17

cloned("clone with CLONE_PARENT", CLONE_PARENT | SIGCHLD)
cloned("the same with a high bit set", 1 << 32 | CLONE_PARENT | SIGCHLD)
