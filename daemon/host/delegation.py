"""Under systemd a process makes groups only below one that was delegated to it: ask for such a one, once."""

import os
import sys

from daemon.host import cgroup
from daemon.sandbox.errors import OurFault

SCOPE_MARK = "CELLBLOCK_SCOPE"  # set in the scope that we made, so that it is tried once


class NotDelegated(OurFault):
    """There is no control group to make jails in; the text says what is missing."""


def into_delegated_group() -> None:
    """Under systemd, start this command again in a scope with a delegated group; else stay where we are.

    A group made by hand below systemd's gets no cpu controller and is interfered with (its document
    CGROUP_DELEGATION). Raises NotDelegated.
    """
    if os.geteuid() != 0:
        raise NotDelegated("needs root to make jails: try sudo")
    try:
        cgroup.enter_leaf()
    except cgroup.Unavailable as error:
        if not os.path.isdir("/run/systemd/system") or SCOPE_MARK in os.environ:
            raise NotDelegated(str(error)) from error
        os.environ[SCOPE_MARK] = "1"
        scope = ["systemd-run", "--scope", "--quiet", "--collect", "-p", "Delegate=yes", "--"]
        os.execvp(scope[0], [*scope, sys.executable, "-P", "-m", "daemon", *sys.argv[1:]])
