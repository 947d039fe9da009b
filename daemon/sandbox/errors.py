"""The one root of our exceptions and its two branches: whose fault a failure is.

A program that fails is no exception: it is an Outcome. What is raised inside and caught beside it may be a class of its
own module; what crosses from one room of the package to another derives from one of these.
"""


class CellblockError(Exception):
    """A failure that is no defect. Its text is one readable sentence, which a person is shown as it is."""


class CallersFault(CellblockError):
    """Whoever asked must ask otherwise; the same question always has this answer (HTTP 4xx)."""


class OurFault(CellblockError):
    """The installation, its configuration or the host stands in the way; the question was right (HTTP 5xx)."""
