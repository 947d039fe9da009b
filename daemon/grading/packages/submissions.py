"""Reads submissions/, the programs of validators and graders, and include/."""

from .expectations import Declared, matches, of_folder, read_declared, with_declared
from .fields import Fields, Warnings
from .languages import of_file, of_files, with_shebang
from .metadata import Metadata
from .problem import Format, Include, Program, Submission, Validator
from .refusal import PackageRefused
from .tree import Tree, name_of, stem
from .yaml_text import BYTES_MAX, parse

SUBMISSIONS, INCLUDE = "submissions", "include"
LEGACY_VALIDATORS, VALIDATOR, GRADERS, STATIC = "output_validators", "output_validator", "graders", "static_validator"
DECLARED = f"{SUBMISSIONS}/submissions.yaml"
SCRIPTS = ("build", "run")  # that validators and graders may have, in the folder that is the program
SOURCE_BYTES = 1 << 20  # of which a comment is looked for


def read(tree: Tree, metadata: Metadata, warnings: Warnings) -> tuple[Submission, ...]:
    """All example submissions, sorted by folder and name. Raises PackageRefused."""
    declared: tuple[Declared, ...] = ()
    if metadata.format is Format.V2023_07 and tree.is_file(DECLARED):
        declared = read_declared(DECLARED, Fields(DECLARED, parse(DECLARED, tree.read(DECLARED, BYTES_MAX)), warnings))
    found: list[Submission] = []
    for folder in tree.children(SUBMISSIONS):
        if tree.is_file(folder):
            continue
        for path in tree.children(folder):
            if tree.below(path):
                found.append(_submission(tree, metadata, path, declared, warnings))
    if not found:
        warnings.add(f"{SUBMISSIONS}: has no submission")
    return tuple(found)


def _submission(
    tree: Tree, metadata: Metadata, path: str, declared: tuple[Declared, ...], warnings: Warnings
) -> Submission:
    name = path.removeprefix(f"{SUBMISSIONS}/")
    folder = name.partition("/")[0]
    entries = tuple(entry for entry in declared if matches(entry.pattern, name))
    source = b"\n".join(
        tree.read(file, SOURCE_BYTES) for file in tree.below(path) if of_file(file) or tree.is_file(path)
    )
    expected = of_folder(metadata.format, folder, source, path, warnings)
    languages = [entry.language for entry in entries if entry.language]
    entry_points = [entry.entry_point for entry in entries if entry.entry_point]
    program = _program(tree, metadata, path, languages[-1:], entry_points[-1:], scripts=False)
    if program.language is None:
        warnings.add(f"{path}: its language cannot be told from the names of its files")
    return Submission(name, folder, program, with_declared(expected, folder, entries))


def _program(
    tree: Tree, metadata: Metadata, path: str, language: list[str], entry_point: list[str], *, scripts: bool
) -> Program:
    files = tree.below(path)
    code = language[0] if language else of_files(files)
    if not language and metadata.format is Format.LEGACY and len(files) > 0:
        code = with_shebang(code, tree.read(files[0], 80).partition(b"\n")[0])
    is_folder = tree.is_folder(path)
    build, run = (scripts and tree.is_file(f"{path}/{name}") for name in SCRIPTS)
    return Program(
        name=name_of(path) if is_folder else stem(name_of(path)), path=path, is_folder=is_folder, files=files,
        language=code, entry_point=entry_point[0] if entry_point else None,
        build=build, run=run,
    )  # fmt: skip


def read_validator(tree: Tree, metadata: Metadata, warnings: Warnings) -> Validator:
    """Who judges the output. Raises PackageRefused where the package says custom, or talks, and brings nobody."""
    if tree.below(STATIC):
        raise PackageRefused(f"{STATIC}: static validators are not supported")
    own, other = VALIDATOR, LEGACY_VALIDATORS
    if metadata.format is Format.LEGACY:
        own, other = other, own
    folder = own if tree.below(own) else other if metadata.custom_validator and tree.below(other) else own
    programs = _programs(tree, metadata, folder)
    if not tree.below(own) and tree.below(other):
        warnings.add(f"{other}: this version of the format calls it {own}")
    if metadata.custom_validator is False and programs:
        warnings.add(f"{folder}: is not used: problem.yaml says validation: default")
        programs = ()
    needed = metadata.custom_validator or len(metadata.types) > 1
    if needed and not programs:
        raise PackageRefused(f"{own}: has no program, although problem.yaml needs one")
    return Validator(programs, metadata.validator_flags, metadata.gives_score)


def read_grader(tree: Tree, metadata: Metadata) -> Program | None:
    """Legacy's custom grader, of which there may be one. Raises PackageRefused."""
    programs = _programs(tree, metadata, GRADERS)
    if len(programs) > 1:
        raise PackageRefused(f"{GRADERS}: has more than one program")
    return programs[0] if programs else None


def _programs(tree: Tree, metadata: Metadata, folder: str) -> tuple[Program, ...]:
    """Each folder is one, and so is each source file; files with headers or scripts beside them are one together.

    The formats would have such files in a folder of their own; DOMjudge and problemtools take them as they are.
    """
    children = tree.children(folder)
    files = [path for path in children if tree.is_file(path)]
    folders = [path for path in children if tree.is_folder(path) and tree.below(path)]
    sources = [path for path in files if of_file(path)]
    has_script = any(name_of(path) in SCRIPTS for path in files)
    is_one = not folders and len(files) > 1 and (folder == VALIDATOR or len(sources) < len(files))
    if is_one or has_script:
        return (_program(tree, metadata, folder, [], [], scripts=True),)
    paths = folders + (sources if folders else files)
    return tuple(_program(tree, metadata, path, [], [], scripts=True) for path in sorted(paths))


def read_includes(tree: Tree) -> tuple[Include, ...]:
    """include/, one for each language."""
    folders = [path for path in tree.children(INCLUDE) if tree.is_folder(path) and tree.below(path)]
    return tuple(Include(name_of(path), path, tree.below(path)) for path in folders)
