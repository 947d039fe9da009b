"""The bodies of Jobe, as lenient as its PHP: unknown fields are passed over, and a number that is none is not there."""

import base64
import math
from typing import Annotated, Any

import pydantic
from pydantic_core import PydanticCustomError

from daemon.api import parcel
from daemon.api.models import FILES_MAX, ITEMS_MAX, Data, Text


def _number(value: object) -> float | None:
    """As PHP's is_numeric; what is not numeric stands for Jobe's default."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _array(value: object) -> object:
    """PHP writes an empty object as an empty list."""
    return {} if value is None or value == [] else value


def _decoded(text: object) -> bytes:
    if not isinstance(text, str):
        raise PydanticCustomError("string_type", "Input should be a valid string")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        raise PydanticCustomError("base64", "contents of the file are not valid base-64") from None


Number = Annotated[float | None, pydantic.PlainValidator(_number)]
Arguments = Annotated[list[Text], pydantic.Field(max_length=ITEMS_MAX)]


class JobeParameters(pydantic.BaseModel):
    """`cputime` in seconds, memory, output and disk in MB; `numprocs` has threads too."""

    model_config = pydantic.ConfigDict(frozen=True)

    cputime: Number = None
    memorylimit: Number = None
    numprocs: Number = None
    streamsize: Number = None
    disklimit: Number = None
    compileargs: Arguments = []
    linkargs: Arguments = []
    interpreterargs: Arguments = []
    runargs: Arguments = []
    main_class: Text | None = None


class JobeRunSpec(pydantic.BaseModel):
    """A program. What is required is looked at later, in Jobe's words; `file_list` has [id, name] of each file."""

    model_config = pydantic.ConfigDict(frozen=True)

    language_id: Text | None = None
    sourcecode: Text | None = None
    sourcefilename: Text | None = None
    input: Data | None = None
    file_list: Annotated[list[list[Any]], pydantic.Field(max_length=FILES_MAX)] | None = None
    parameters: Annotated[JobeParameters, pydantic.BeforeValidator(_array)] = JobeParameters()


class JobeRun(pydantic.BaseModel):
    """The body of POST runs."""

    model_config = pydantic.ConfigDict(frozen=True)

    run_spec: JobeRunSpec | None = None


class JobeFile(pydantic.BaseModel):
    """The body of PUT files, in base64."""

    model_config = pydantic.ConfigDict(frozen=True)

    file_contents: Annotated[bytes, pydantic.PlainValidator(_decoded)]


class JobeResult(pydantic.BaseModel):
    """The answer of POST runs."""

    run_id: str
    outcome: int
    cmpinfo: str = ""
    stdout: str = ""
    stderr: str = ""


parcel.know(JobeRun, JobeFile, parts=(JobeRunSpec, JobeParameters))
