"""What is raised where a package cannot be taken, and whose fault that is."""

from daemon.sandbox.errors import CallersFault, OurFault


class PackageRefused(CallersFault):
    """The package breaks a rule; the text is one sentence that names the file and the key or the entry."""


class PackageTooLarge(PackageRefused):
    """It unpacks to more bytes than it may."""


class NoSuchProblem(CallersFault):
    """There is no problem of this id."""


class BadProblemId(CallersFault):
    """An id is 1 to 64 of a-z, 0-9, _ and -, the first of them a letter or a digit."""


class StoreFull(CallersFault):
    """The store holds as many problems or bytes as it may; delete one, or ask for a larger store."""


class CannotRead(OurFault):
    """The process that reads packages failed, or the disk did; the package may be right."""
