"""The bodies that Judge0 takes. Rails drops fields that it does not know and casts between texts and numbers, and so
does this: a client that sends `"language_id": "71"` or a field of a newer version is understood."""

import binascii
from typing import Annotated

import pydantic
from pydantic_core import PydanticCustomError

from daemon.api import parcel
from daemon.api.models import ITEMS_MAX, Data, Text

TEXT_MAX = 4096  # characters of what is no source, input, output or archive
Word = Annotated[pydantic.StrictStr, pydantic.Field(max_length=TEXT_MAX)]
BLANKS = b" \t\r\n"  # where encoders end their lines


def _no_list(value: object) -> object:
    """Rails drops what is a list or an object where it expects neither."""
    return None if isinstance(value, list | dict) else value


Scalar = Annotated[
    pydantic.StrictBool | pydantic.StrictInt | pydantic.StrictFloat | Word | None, pydantic.BeforeValidator(_no_list)
]


def _decoded(data: bytes) -> bytes:
    try:
        return binascii.a2b_base64(data.translate(None, BLANKS), strict_mode=True)
    except binascii.Error as error:
        raise PydanticCustomError("base64", "not base64: {reason}", {"reason": str(error)}) from None


Encoded = Annotated[Data, pydantic.AfterValidator(_decoded)]
Line = Annotated[Text, pydantic.Field(max_length=TEXT_MAX)]


class SubmissionBody(pydantic.BaseModel):
    """POST /submissions. What a field means and how it is bounded, wanted.py says."""

    model_config = pydantic.ConfigDict(extra="ignore", frozen=True)

    source_code: Data | None = None
    language_id: Scalar = None
    compiler_options: Line | None = None
    command_line_arguments: Line | None = None
    stdin: Data | None = None
    expected_output: Data | None = None
    additional_files: Encoded | None = None
    number_of_runs: Scalar = None
    cpu_time_limit: Scalar = None
    cpu_extra_time: Scalar = None
    wall_time_limit: Scalar = None
    memory_limit: Scalar = None
    stack_limit: Scalar = None
    max_processes_and_or_threads: Scalar = None
    max_file_size: Scalar = None
    enable_per_process_and_thread_time_limit: Scalar = None
    enable_per_process_and_thread_memory_limit: Scalar = None
    redirect_stderr_to_stdout: Scalar = None
    enable_network: Scalar = None
    callback_url: Line | None = None


class EncodedBody(SubmissionBody):
    """The same with `?base64_encoded=true`."""

    source_code: Encoded | None = None
    stdin: Encoded | None = None
    expected_output: Encoded | None = None


class BatchBody(pydantic.BaseModel):
    """POST /submissions/batch."""

    model_config = pydantic.ConfigDict(extra="ignore", frozen=True)

    submissions: Annotated[tuple[SubmissionBody, ...], pydantic.Field(max_length=ITEMS_MAX), pydantic.FailFast()] = ()


class EncodedBatch(BatchBody):
    """The same with `?base64_encoded=true`."""

    submissions: Annotated[tuple[EncodedBody, ...], pydantic.Field(max_length=ITEMS_MAX), pydantic.FailFast()] = ()


parcel.know(SubmissionBody, EncodedBody, BatchBody, EncodedBatch)
