"""Bodies: what is taken of JSON, how much of it, and that a large one is parsed as a small one, in a process of its own."""

import asyncio
import base64
import contextlib
import json
import os
import pickle
import resource
import signal
import struct
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from daemon.api import parcel, parsing
from daemon.api.client import Client
from daemon.api.grade_models import GradeRequest
from daemon.api.models import ExecuteRequest
from daemon.api.parser import CannotParse, Parser
from daemon.api.parsing import ENTRIES_MAX, FIELDS_MAX, BadBody, NotJson, NotTheModel, check_shape, parse
from daemon.sandbox.descriptors import memfd

CLIENT = Client("address 192.0.2.1")
HELLO = {"language": "python", "code": "print(1)"}
MANY = ENTRIES_MAX + 1
BODY_BYTES = 1 << 20


def shaped(kind: str) -> bytes:
    """More than ENTRIES_MAX of one kind."""
    entry = {"numbers": "1", "lists": "[]", "objects": "{}", "strings": '""', "fields": '"k":0'}[kind]
    inside = ",".join([entry] * MANY)
    return f'{{"code":{{{inside}}}}}'.encode() if kind == "fields" else f'{{"code":[{inside}]}}'.encode()


@contextlib.contextmanager
def held(data: bytes) -> Iterator[int]:
    body = memfd("body", data)
    try:
        yield body
    finally:
        os.close(body)


@pytest.mark.parametrize("kind", ["numbers", "lists", "objects", "strings", "fields"])
def test_more_entries_than_any_request_needs_are_refused_before_they_are_made(kind: str) -> None:
    with pytest.raises(NotTheModel, match=f"at most {ENTRIES_MAX} items and fields in all") as refused:
        check_shape(shaped(kind))
    assert [error.field for error in refused.value.errors] == ["body"]


def test_brackets_without_end_are_refused_by_their_depth_and_by_their_number() -> None:
    with pytest.raises(NotJson, match="nested too deeply"):
        parse(b"[" * 60_000, ExecuteRequest)
    with pytest.raises(NotTheModel, match="in all"):
        check_shape(b"[" * MANY)


@pytest.mark.parametrize("text", [",[{" * MANY, '",{\\' * MANY, "\\u002c,", "\n" * MANY])
def test_what_stands_in_a_text_is_not_counted(text: str) -> None:
    check_shape(json.dumps({**HELLO, "stdin": text}).encode())


@pytest.mark.parametrize("body", ['{"code":"' + '\\"' * 500_000, '"' * 150_000, '"\\', "\\" * 500_000, ""])
def test_texts_that_do_not_end_are_looked_at_once(body: str) -> None:
    """Looked at again from each quote, the first would take hours."""
    check_shape(body.encode())
    with pytest.raises(NotJson):
        parse(body.encode(), ExecuteRequest)


def test_an_object_has_few_fields_at_every_depth() -> None:
    fields = dict.fromkeys(map(str, range(FIELDS_MAX + 1)), 0)
    for value in ({**HELLO, **fields}, {**HELLO, "files": [fields]}, {"code": [[fields]]}):
        with pytest.raises(NotTheModel, match=f"at most {FIELDS_MAX} fields in one object"):
            parse(json.dumps(value).encode(), ExecuteRequest)


def test_a_key_that_occurs_twice_is_told_at_every_depth() -> None:
    for body in ('{"code":1,"code":2}', '{"files":[{"name":1,"code":0,"code":0}]}'):
        with pytest.raises(NotJson, match="'code' occurs twice") as refused:
            parse(body.encode(), ExecuteRequest)
        assert [error.field for error in refused.value.errors] == ["code"]


def test_of_a_list_the_first_wrong_item_is_told() -> None:
    """An error for each of them would cost more than the body."""
    for name, model in (("args", ExecuteRequest), ("files", ExecuteRequest), ("tests", GradeRequest)):
        with pytest.raises(NotTheModel) as refused:
            parse(json.dumps({**HELLO, name: [0] * 50}).encode(), model)
        assert {error.field.split(".")[0] for error in refused.value.errors} >= {name}
        assert sum(error.field.startswith(name) for error in refused.value.errors) == 1


def test_texts_become_bytes_and_files_are_decoded_while_they_are_parsed() -> None:
    content = bytes(range(256))
    files = [
        {"name": "a", "content": base64.b64encode(content).decode(), "encoding": "base64"}, {"name": "b", "content": "é"},
    ]  # fmt: skip
    found = parse(json.dumps({**HELLO, "stdin": "ü", "files": files}).encode(), ExecuteRequest)
    assert (found.stdin, [file.content for file in found.files]) == ("ü".encode(), [content, "é".encode()])


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [({"files": [{"name": "a", "content": "x", "encoding": "base64"}]}, "files.0.content", "not base64: Invalid"),
     ({"files": [{"name": "a", "content": "é", "encoding": "base64"}]}, "files.0.content", "not base64"),
     ({"stdin": 1}, "stdin", "valid string"), ({"stdin": "\ud800"}, "stdin", "lone surrogate"),
     ({"files": [{"name": "a", "content": None}]}, "files.0.content", "valid string"),
     ({"files": [{"name": "a", "content": "x", "encoding": "utf-9"}]}, "files.0.encoding", "'utf-8' or 'base64'")],
)  # fmt: skip
def test_a_wrong_text_is_told_with_its_path(fields: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(NotTheModel) as refused:
        parse(json.dumps({**HELLO, **fields}).encode(), ExecuteRequest)
    (error,) = refused.value.errors
    assert error.field == field and message in error.message and "Value error" not in error.message


# -- in a process of its own


LARGE: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "input": (ExecuteRequest, {"stdin": "é" * 200_000, "args": ["a", "b"], "timeout": 2, "binary": True}),
    "files": (
        ExecuteRequest,
        {"files": [{"name": "a", "content": base64.b64encode(os.urandom(200_000)).decode(), "encoding": "base64"}]},
    ),
    "tests": (
        GradeRequest,
        {
            "tests": [{"input": "1 " * 100_000, "expected": "2"}, {"id": "x", "args": ["1"]}],
            "limits": {"cpu_time": 1.0},
            "checker": {"kind": "custom", "code": "x", "language": "cpp", "files": [{"name": "a", "content": "b"}]},
        },
    ),
    "a wrong field": (ExecuteRequest, {"stdin": "x" * 100_000, "nothing": 1}),
    "a key twice": (ExecuteRequest, {"stdin": "x" * 100_000 + '"'}),
}


@pytest.fixture(scope="module")
def parser() -> Iterator[Parser]:
    """Its process may have the memory of no body at all beyond its own 128 MB."""
    parser = Parser(0, places=1)
    yield parser
    last = process_of(parser)
    asyncio.run(parser.__aexit__())
    assert not last.is_running()


def process_of(parser: Parser) -> psutil.Process:
    assert parser._process is not None
    return psutil.Process(parser._process.pid)


@pytest.mark.parametrize("name", LARGE)
async def test_a_large_body_is_parsed_as_a_small_one_is(parser: Parser, name: str) -> None:
    model, fields = LARGE[name]
    data = json.dumps({**HELLO, **fields}).encode().replace(b'\\"', b'","stdin":"')
    with held(data) as body:
        try:
            expected = parse(data, model)
        except BadBody as error:
            with pytest.raises(type(error)) as refused:
                await parser.parse(body, model, CLIENT)
            assert (refused.value.detail, refused.value.errors) == (error.detail, error.errors)
        else:
            found = await parser.parse(body, model, CLIENT)
            assert found == expected and found.model_fields_set == expected.model_fields_set


async def test_a_body_that_needs_too_much_memory_is_refused_and_the_process_goes_on(parser: Parser) -> None:
    data = b'{"language":"python","code":"","stdin":"\xf0\x9f\x98\x80' + b"x" * (24 << 20) + b'"}'
    with held(data) as body, held(json.dumps(HELLO).encode()) as small:
        with pytest.raises(NotTheModel, match="too much memory"):
            await parser.parse(body, ExecuteRequest, CLIENT)
        process = process_of(parser)
        assert (await parser.parse(small, ExecuteRequest, CLIENT)).code == "print(1)"
        assert process_of(parser) == process
        assert process.rlimit(psutil.RLIMIT_DATA)[1] == 128 << 20


async def test_signals_that_mean_the_server_leave_it_alone_and_who_hangs_up_leaves_it_ready(parser: Parser) -> None:
    with held(json.dumps(HELLO).encode()) as body:
        await parser.parse(body, ExecuteRequest, CLIENT)
        process = process_of(parser)
        for number in (signal.SIGTERM, signal.SIGINT):
            process.send_signal(number)
        gone = asyncio.create_task(parser.parse(body, ExecuteRequest, CLIENT))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        assert "0 parsed, 0 waiting" in repr(parser)
        assert (await parser.parse(body, ExecuteRequest, CLIENT)).code == "print(1)"
        assert process_of(parser) == process


async def test_its_crash_reaches_no_handler_of_the_host() -> None:
    """core(5): with RLIMIT_CORE 0 a core_pattern that is a pipe would be given what the process holds."""
    with held(json.dumps(HELLO).encode()) as body:
        async with Parser(BODY_BYTES, places=1) as parser:
            await parser.parse(body, ExecuteRequest, CLIENT)
            highest = min(1, resource.getrlimit(resource.RLIMIT_CORE)[1] % (1 << 64))
            assert resource.prlimit(process_of(parser).pid, resource.RLIMIT_CORE) == (highest, highest)


async def test_a_process_that_died_while_it_was_idle_is_replaced_and_nobody_notices() -> None:
    with held(json.dumps(HELLO).encode()) as body:
        async with Parser(BODY_BYTES, places=1) as parser:
            await parser.parse(body, ExecuteRequest, CLIENT)
            process = process_of(parser)
            process.kill()
            process.wait()
            assert (await parser.parse(body, ExecuteRequest, CLIENT)).code == "print(1)"


async def test_a_process_that_dies_while_it_is_idle_is_waited_for() -> None:
    """It stayed a zombie until the next large body came."""
    with held(json.dumps(HELLO).encode()) as body:
        async with Parser(BODY_BYTES, places=1) as parser:
            await parser.parse(body, ExecuteRequest, CLIENT)
            process = process_of(parser)
            process.kill()
            async with asyncio.timeout(10):
                while process.is_running():  # noqa: ASYNC110 (nothing tells of another's process)
                    await asyncio.sleep(0.01)


async def test_a_process_that_hangs_is_replaced() -> None:
    with held(json.dumps(HELLO).encode()) as body:
        async with Parser(BODY_BYTES, places=1, parse_s=1.0) as parser:
            await parser.parse(body, ExecuteRequest, CLIENT)
            process = process_of(parser)
            process.suspend()
            with pytest.raises(CannotParse):
                await parser.parse(body, ExecuteRequest, CLIENT)
            assert not process.is_running()
            assert (await parser.parse(body, ExecuteRequest, CLIENT)).code == "print(1)"


# -- what comes back from it


def parcelled(data: bytes, before: bytes = b"") -> bytes:
    return before + data + struct.pack("<Q", len(data))


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("false",)


class _Beyond(pickle.Pickler):
    def persistent_id(self, thing: object) -> object:
        return (0, 1 << 40) if isinstance(thing, bytes) else None


def beyond() -> bytes:
    with open(memfd("pickle", b""), "w+b") as file:
        _Beyond(file).dump(b"x")
        file.seek(0)
        return file.read()


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 8, struct.pack("<Q", 1 << 60), parcelled(b"x"), parcelled(pickle.dumps(_Evil())),
     parcelled(pickle.dumps(Client("x"))), parcelled(pickle.dumps([])), parcelled(beyond()),
     parcelled(pickle.dumps(parsing.FieldError("a", "b")))],
)  # fmt: skip
def test_whatever_else_that_process_sends_makes_nothing(content: bytes) -> None:
    with held(content) as file, pytest.raises(parcel.BadParcel):
        parcel.read(file, 0)


def test_more_than_a_body_can_become_is_not_read() -> None:
    with held(b"") as file, pytest.raises(parcel.BadParcel):
        os.ftruncate(file, parcel.ROOM_BYTES + 1)
        parcel.read(file, 0)
