"""Takes typed values out of a map that was YAML; errors name file and key, and keys nobody asked for are warnings."""

import math
import re

from .refusal import PackageRefused
from .yaml_text import Value

WARNINGS_MAX = 100
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
TRUE, FALSE = {"true", "yes", "on"}, {"false", "no", "off"}  # YAML 1.1, in any case
NUMBER_CHARACTERS_MAX = 64


class Warnings:
    """What is odd about a package and does not stand in its way; at most WARNINGS_MAX sentences."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def add(self, sentence: str) -> None:
        """One that was told already is not told again."""
        if len(self._found) < WARNINGS_MAX and sentence not in self._found:
            self._found.append(sentence)

    def all(self) -> tuple[str, ...]:
        """In the order in which they were found."""
        return tuple(self._found)


class Fields:
    """A map of the file `file`; `where` is the keys that led to it. Every method raises PackageRefused."""

    def __init__(self, file: str, value: Value, warnings: Warnings, where: str = "") -> None:
        if value is not None and not isinstance(value, dict):
            raise PackageRefused(f"{file}: {where or 'its content'}: must be a map")
        self._file, self._where, self._warnings = file, where, warnings
        self._values: dict[str, Value] = value or {}
        self._asked: set[str] = set()

    def refused(self, key: str, what: str) -> PackageRefused:
        """An exception for the caller to raise; it names file and key."""
        return PackageRefused(f"{self._file}: {self._name(key)}: {what}")

    def warn(self, key: str, what: str) -> None:
        """A warning that names file and key."""
        self._warnings.add(f"{self._file}: {self._name(key)}: {what}")

    def given(self) -> tuple[str, ...]:
        """Those that have a value."""
        return tuple(key for key, value in self._values.items() if value is not None)

    def skip(self, *keys: str) -> None:
        """Keys that the format has and that do not matter to us."""
        self._asked.update(keys)

    def finish(self) -> None:
        """Warns of every key that nobody asked for."""
        for key in self._values:
            if key not in self._asked:
                self.warn(key, "is not a key of this format")

    def value(self, key: str) -> Value:
        """As it is."""
        self._asked.add(key)
        return self._values.get(key)

    def text(self, key: str) -> str | None:
        """A single text."""
        value = self.value(key)
        if isinstance(value, list | dict):
            raise self.refused(key, "must be a text")
        return value

    def number(self, key: str, above: float | None = None, least: float | None = None) -> float | None:
        """A finite number, greater than `above`, not less than `least`."""
        text = self.text(key)
        if text is None:
            return None
        number = self._parsed(key, text)
        if not math.isfinite(number):
            raise self.refused(key, "must be a finite number")
        if above is not None and number <= above:
            raise self.refused(key, f"must be greater than {above:g}")
        if least is not None and number < least:
            raise self.refused(key, f"must be at least {least:g}")
        return number

    def integer(self, key: str, least: int) -> int | None:
        """A whole number, which may be written as 2.0."""
        number = self.number(key, least=least)
        if number is not None and not number.is_integer():
            raise self.refused(key, "must be a whole number")
        return None if number is None else int(number)

    def scaled(self, key: str, unit: int) -> int | None:
        """A size above 0 in bytes, written in `unit` bytes; a fraction of a unit is allowed."""
        number = self.number(key, above=0)
        if number is not None and number * unit > 1 << 62:
            raise self.refused(key, "is too large")
        return None if number is None else max(1, int(number * unit))

    def boolean(self, key: str) -> bool | None:
        """true or false."""
        text = self.text(key)
        if text is None:
            return None
        if text.lower() not in TRUE | FALSE:
            raise self.refused(key, "must be true or false")
        return text.lower() in TRUE

    def words(self, key: str) -> tuple[str, ...] | None:
        """A list of texts as it is, a single text split at blanks."""
        value = self.value(key)
        return tuple(value.split()) if isinstance(value, str) else self._texts(key, value)

    def texts(self, key: str) -> tuple[str, ...] | None:
        """A list of texts as it is, a single text as a list of one."""
        value = self.value(key)
        return (value,) if isinstance(value, str) else self._texts(key, value)

    def one_of(self, key: str, allowed: tuple[str, ...]) -> str | None:
        """A text that is among `allowed`."""
        text = self.text(key)
        if text is not None and text not in allowed:
            raise self.refused(key, f"must be one of {', '.join(allowed)}")
        return text

    def map(self, key: str) -> "Fields":
        """A map within this one, empty where there is none."""
        return Fields(self._file, self.value(key), self._warnings, self._name(key))

    def range(self, key: str) -> tuple[float, float] | None:
        """Two numbers, low and high, where inf is allowed: a list, or a text with a blank between them."""
        words = self.words(key)
        if words is None:
            return None
        if len(words) != 2:
            raise self.refused(key, "must be two numbers")
        low, high = (self._parsed(key, word) for word in words)
        if low > high:
            raise self.refused(key, "must begin with the lower number")
        return low, high

    def _texts(self, key: str, value: Value) -> tuple[str, ...] | None:
        if value is None:
            return None
        if not isinstance(value, list):
            raise self.refused(key, "must be a list of texts")
        found = tuple(part for part in value if isinstance(part, str))
        if len(found) != len(value):
            raise self.refused(key, "must be a list of texts")
        return found

    def _parsed(self, key: str, text: str) -> float:
        if text.lower().lstrip("+-.") in ("inf", "infinity"):
            return -math.inf if text.startswith("-") else math.inf
        if len(text) > NUMBER_CHARACTERS_MAX or not NUMBER.fullmatch(text):
            raise self.refused(key, "must be a number")
        return float(text)

    def _name(self, key: str) -> str:
        return f"{self._where}.{key}" if self._where else key
