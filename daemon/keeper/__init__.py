"""The privileged process. Standard library and seccomp only, small enough to audit."""
