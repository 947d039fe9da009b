"""python -m daemon is the command cellblock."""

from daemon.cli import main

main()
