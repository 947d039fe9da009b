"""Loads toolchain files from folders and finds a toolchain by id, alias or file extension."""

import difflib
import pathlib
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pydantic

from daemon.sandbox.errors import CallersFault, OurFault

from .schema import Toolchain


class BadToolchain(OurFault):
    """A toolchain file is wrong; the text is `file: key: what is wrong; hint`."""


class UnknownLanguage(CallersFault):
    """No toolchain has this id, alias or extension."""


class Registry:
    """The enabled toolchains in the order of their ids. `extensions`: the id of the one that has files of an extension,
    where it is not the one whose file names it. Raises BadToolchain."""

    def __init__(self, toolchains: Iterable[Toolchain], extensions: Mapping[str, str] | None = None) -> None:
        self._by_id = {toolchain.id: toolchain for toolchain in sorted(toolchains, key=lambda toolchain: toolchain.id)}
        self._by_name: dict[str, Toolchain] = {}
        self._by_extension: dict[str, Toolchain] = {}
        self._by_package_code: dict[str, Toolchain] = {}
        self._chosen: set[str] = set()
        for toolchain in self._by_id.values():
            for name in toolchain.names:
                self._claim(self._by_name, name.lower(), toolchain, "aliases")
            for extension in toolchain.extensions:
                self._claim(self._by_extension, extension.lower().lstrip("."), toolchain, "extensions")
            for code in toolchain.package_submissions:
                self._claim(self._by_package_code, code, toolchain, "package_submissions")
        for extension, name in (extensions or {}).items():
            if name not in self._by_id:
                raise BadToolchain(f"extensions: {extension}: no language {name!r}; there are {', '.join(self._by_id)}")
            self._by_extension[extension.lower().lstrip(".")] = self._by_id[name]
            self._chosen.add(extension.lower().lstrip("."))

    @staticmethod
    def _claim(table: dict[str, Toolchain], name: str, toolchain: Toolchain, key: str) -> None:
        owner = table.setdefault(name, toolchain)
        if owner is not toolchain:
            raise BadToolchain(f"{toolchain.id}.toml: {key}: {name!r} already belongs to {owner.id}")

    def __iter__(self) -> Iterator[Toolchain]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def ids(self) -> list[str]:
        """In alphabetical order."""
        return list(self._by_id)

    def find(self, name: str) -> Toolchain:
        """By id or alias, whatever the case. Raises UnknownLanguage."""
        try:
            return self._by_name[name.lower()]
        except KeyError:
            raise UnknownLanguage(f"Unsupported language: {name}. Supported: {', '.join(self.ids())}") from None

    def find_by_file(self, path: str) -> Toolchain:
        """By the extension of a file name. Raises UnknownLanguage."""
        extension = _extension(path)
        try:
            return self._by_extension[extension]
        except KeyError:
            known = ", ".join(f".{name}" for name in sorted(self._by_extension))
            raise UnknownLanguage(f"No language for the extension {extension!r} of {path}. Known: {known}") from None

    def of_submission(self, path: str, code: str | None) -> Toolchain:
        """By the file of a submission in a problem package, which calls its language `code`: a language may claim these
        (`package_submissions`), unless `extensions` says another. Raises UnknownLanguage."""
        found = self.find_by_file(path)
        return found if _extension(path) in self._chosen else self._by_package_code.get(code or "", found)


def _extension(path: str) -> str:
    return pathlib.PurePath(path).suffix.lower().lstrip(".")


def load(
    folders: Iterable[pathlib.Path], enabled: Iterable[str] | None = None, extensions: Mapping[str, str] | None = None
) -> Registry:
    """Every *.toml of the folders that exist; a later folder replaces a file of the same name. Raises BadToolchain."""
    files = {path.stem: path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*.toml"))}
    if enabled is not None:
        wanted = list(enabled)
        for name in wanted:
            if name not in files:
                raise BadToolchain(f"no toolchain file for the enabled language {name!r}; there are {', '.join(files)}")
        files = {name: files[name] for name in wanted}
    if not files:
        raise BadToolchain("no toolchain files found")
    return Registry((read(path) for path in files.values()), extensions)


def read(path: pathlib.Path) -> Toolchain:
    """Raises BadToolchain."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadToolchain(f"{path}: {error}") from error
    if "folder" in data:
        raise BadToolchain(f"{path}: folder: the file's place is the folder; remove the key")
    if "id" in data:
        raise BadToolchain(f"{path}: id: the file's name is the id; remove the key")
    try:
        toolchain = Toolchain.model_validate({"id": path.stem, **data})
    except pydantic.ValidationError as error:
        raise BadToolchain("\n".join(f"{path}: {_explain(problem)}" for problem in error.errors())) from error
    return toolchain.model_copy(update={"folder": path.parent.absolute()})


def _explain(problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "file"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(problem["loc"][-1]), _all_keys(), n=1)
        message = "unknown key" + (f"; did you mean {close[0]!r}?" if close else "")
    return f"{key}: {message}"


def _all_keys() -> set[str]:
    from . import schema

    models = [
        value for value in vars(schema).values() if isinstance(value, type) and issubclass(value, pydantic.BaseModel)
    ]
    return {name for model in models for name in model.model_fields}
