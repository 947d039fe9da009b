"""What a program of programs/ says of itself in its docstring: what it tries, and how it must end."""

import ast
import dataclasses
import pathlib

from daemon.judge.submission import Reason

FOLDER = pathlib.Path(__file__).parent / "programs"
SHARED = FOLDER / "attempts.py"
KEYS = {"threat", "remedy", "ends", "accepted", "beside", "needs", "wall_s", "late_s", "cpu_s"}


class BadProbe(ValueError):
    """A docstring that is not as `read` has it; the text names the file."""


@dataclasses.dataclass(frozen=True, slots=True)
class End:
    """A reason, and for `exited` the exit code."""

    reason: Reason
    exit_code: int | None = None

    def __str__(self) -> str:
        return self.reason if self.exit_code is None else f"{self.reason} {self.exit_code}"


GOOD_END = End(Reason.EXITED, 0)


@dataclasses.dataclass(frozen=True, slots=True)
class Probe:
    """`threat` is a row of docs/threats.md, `tried` a sentence. `end` is how the program ends where that is a promise,
    None where another end than 0 is the probe's own failure. `accepted` begins an entry of "Known and accepted" in
    jail_configs/README.md, which says why it is open. `beside` runs at the same time. `wall_s` and `cpu_s` are limits
    of its own; without them it has the deployment's. `late_s`: so much after its time limit its end is known."""

    name: str
    code: bytes
    threat: str
    tried: str
    remedy: str
    end: End | None = None
    accepted: str | None = None
    beside: bytes | None = None
    needs: str | None = None
    wall_s: float | None = None
    late_s: float | None = None
    cpu_s: float | None = None


def load(folder: pathlib.Path = FOLDER) -> list[Probe]:
    """All probes, by threat and name. A file whose docstring names no threat is there for others. Raises BadProbe."""
    found = [read(path) for path in sorted(folder.glob("*.py"))]
    return sorted(
        (probe for probe in found if probe is not None), key=lambda probe: (probe.threat[0], int(probe.threat[1:]))
    )


def read(path: pathlib.Path) -> Probe | None:
    """Form of the docstring: a sentence, an empty line, and lines `key: value` with the fields of a Probe, where
    `ends` is a reason of judge.submission, after `exited` with the exit code. Raises BadProbe."""
    code = path.read_bytes()
    head, _, rest = (ast.get_docstring(ast.parse(code)) or "").partition("\n\n")
    lines = [line.partition(": ") for line in rest.splitlines() if line]
    values = {key: value for key, _, value in lines}
    if "threat" not in values:
        return None
    if not set(values) <= KEYS or len(lines) != len(values) or "remedy" not in values:
        raise BadProbe(f"{path}: the docstring has keys of {sorted(KEYS)}, each once, a remedy among them")
    try:
        return Probe(
            name=path.stem, code=code, threat=values["threat"], tried=" ".join(head.split()).removesuffix("."),
            remedy=values["remedy"], end=_end(values["ends"]) if "ends" in values else None,
            accepted=values.get("accepted"), needs=values.get("needs"),
            beside=(path.parent / values["beside"]).read_bytes() if "beside" in values else None,
            **{key: float(values[key]) for key in ("wall_s", "late_s", "cpu_s") if key in values},
        )  # fmt: skip
    except (ValueError, OSError) as error:
        raise BadProbe(f"{path}: {error}") from error


def _end(text: str) -> End:
    reason, _, code = text.partition(" ")
    return End(Reason(reason), int(code) if code else None)
