"""Reads an unpacked package: from a folder to a Problem. It runs in the worker process."""

import os
import pathlib

from . import constants, metadata, submissions, testdata
from .fields import Warnings
from .metadata import Metadata
from .problem import Problem
from .tree import Tree

CONSTANT_FILE_BYTES = 1 << 20
WITH_CONSTANTS = ("output_validator", "include", "submissions")  # of what 2025-09, "Constants", lists


def read(root: pathlib.Path) -> Problem:
    """The package that lies in `root` or in the one folder that `root` holds.

    Constants are put into the programs that have them: these files are rewritten. Raises PackageRefused.
    """
    warnings = Warnings()
    tree = Tree(root, warnings)
    meta = metadata.read(tree, warnings)
    groups, cases = testdata.read(tree, meta, warnings)
    validator = submissions.read_validator(tree, meta, warnings)
    found = Problem(
        folder=tree.folder, format=meta.format, declared_version=meta.declared_version, names=meta.names,
        uuid=meta.uuid, types=meta.types, limits=meta.limits, timing=meta.timing, languages=meta.languages,
        allow_file_writing=meta.allow_file_writing, maximize=meta.grading.maximize, constants=meta.constants,
        validator=validator, grader=submissions.read_grader(tree, meta), groups=groups, cases=cases,
        includes=submissions.read_includes(tree), submissions=submissions.read(tree, meta, warnings),
        warnings=warnings.all(),
    )  # fmt: skip
    _put_constants(root / tree.folder, tree, meta)
    return found


def _put_constants(root: pathlib.Path, tree: Tree, meta: Metadata) -> None:
    """In the programs that have them; a file that is larger than CONSTANT_FILE_BYTES stays as it is.

    Raises PackageRefused where one would become larger than that.
    """
    if not meta.constants:
        return
    for folder in WITH_CONSTANTS:
        for path in tree.below(folder):
            before = tree.read(path, CONSTANT_FILE_BYTES)
            if len(before) > CONSTANT_FILE_BYTES:
                continue
            after = constants.put(path, before, meta.constants, CONSTANT_FILE_BYTES)
            if after != before:
                descriptor = os.open(root / path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC)
                with open(descriptor, "wb") as file:
                    file.write(after)
