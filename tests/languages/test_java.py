"""What is Java's own: how its class is found, its living compiler, its virtual machine that waits."""

import json
import os
import pathlib
import subprocess
import uuid

import pytest

from tests.server import COMMAND, Server

from .test_languages import graded

HELLO = 'public static void main(String[] a) { System.out.println("hello NONCE"); }'


@pytest.mark.parametrize("lives", [True, False], ids=["service", "step"])
@pytest.mark.parametrize(
    ("code", "said"),
    [
        (f"public class Foo {{ {HELLO} }}", "hello"),
        (f"class First {{ {HELLO} }} class Other {{ {HELLO.replace('hello', 'other')} }}", "hello"),
        (f"class First {{ {HELLO.replace('hello', 'first')} }} class Main {{ {HELLO} }}", "hello"),
        (f"package deep.down; public class Foo {{ {HELLO} }}", "hello"),
        (f"enum Kind {{ A; {HELLO} }}", "hello"),
        (f"public class Foo {{ static class Inner {{}} Runnable r = () -> {{}}; {HELLO} }}", "hello"),
    ],
)
def test_the_main_class_may_have_any_name(cellblock: Server, code: str, said: str, lives: bool) -> None:
    """Main, else the first that has a main. With files beside it is the compile step that builds, not the service."""
    nonce = uuid.uuid4().hex
    files = [] if lives else [{"name": "notes.txt", "content": ""}]
    answer = cellblock.execute("java", code.replace("NONCE", nonce), files=files)
    assert (answer["output"], answer["error"]) == (f"{said} {nonce}\n", None), answer


@pytest.mark.parametrize("files", [[], [{"name": "notes.txt", "content": ""}]], ids=["service", "step"])
def test_service_and_step_say_the_same_of_what_is_wrong(cellblock: Server, files: list[dict[str, str]]) -> None:
    code = 'public class Main {\n  int é = "\\u00e9";\n  List<String> x;\n}\n'
    answer = cellblock.execute("java", code, files=files)
    assert answer["reason"] == "compile_error"
    assert answer["error"] == (
        "Main.java:3: error: cannot find symbol\n  List<String> x;\n  ^\n  symbol:   class List\n  location: class Main\n"
        'Main.java:2: error: incompatible types: String cannot be converted to int\n  int é = "\\u00e9";\n          ^\n2 errors\n'
    ), answer["error"]


@pytest.mark.parametrize("code", ["public class Main { }", "", "// nothing", "interface Main { void main(); }"])
def test_a_program_without_a_main_does_not_compile(cellblock: Server, code: str) -> None:
    answer = cellblock.execute("java", code)
    assert answer["reason"] == "compile_error"
    assert "Main.java: error: no class has a method `public static void main(String[] args)`" in answer["error"]


def test_a_trace_ends_with_the_programs_own_main(cellblock: Server) -> None:
    code = (
        'public class Main {\n  static void fail() { throw new IllegalStateException("outer", new RuntimeException("inner")); }\n'
        "  public static void main(String[] a) { fail(); }\n}\n"
    )
    answer = cellblock.execute("java", code)
    assert (answer["exit_code"], answer["stderr"]) == (
        1,
        'Exception in thread "main" java.lang.IllegalStateException: outer\n\tat Main.fail(Main.java:2)\n\tat Main.main(Main.java:3)\n'
        "Caused by: java.lang.RuntimeException: inner\n\t... 2 more\n",
    )


def test_what_a_program_sees_is_what_java_shows(cellblock: Server) -> None:
    """Arguments, environment, standard streams, threads that outlive main, exit codes."""
    code = """
import java.util.*;
public class Main {
    public static void main(String[] a) throws Exception {
        System.out.println(Arrays.toString(a) + new TreeMap<>(System.getenv()) + Thread.currentThread().getName());
        System.out.println(System.getProperty("user.dir") + " " + System.getProperty("file.encoding") + " é");
        new Thread(() -> { System.out.println("later"); System.exit(7); }).start();
    }
}
"""
    answer = cellblock.execute("java", code, args=["one", "", "zwei ü"])
    assert answer["output"] == (
        "[one, , zwei ü]{HOME=/work, LANG=C.UTF-8, PATH=/usr/local/bin:/usr/bin:/bin, TZ=UTC}main\n"
        "/work UTF-8 é\nlater\n"
    )
    assert answer["exit_code"] == 7


def test_what_is_compiled_next_knows_nothing_of_what_was_before(cellblock: Server) -> None:
    nonce = uuid.uuid4().hex
    assert cellblock.execute("java", f"class Secret{nonce} {{ }} public class Main {{ {HELLO} }}")["success"]
    answer = cellblock.execute("java", f"public class Main {{ Secret{nonce} x; {HELLO} }}")
    assert "cannot find symbol" in answer["error"]


def test_a_checker_and_its_submission_may_be_java(cellblock: Server) -> None:
    """A checker is a command that is started at go."""
    checker = "public class Check { public static void main(String[] a) throws Exception { System.exit(System.in.read() == '4' ? 42 : 43); } }"
    body = {
        "code": f"public class Main {{ {HELLO.replace('hello NONCE', '42')} }}", "language": "java", "tests": [{"expected": ""}],
        "checker": {"kind": "custom", "code": checker, "language": "java"},
    }  # fmt: skip
    answer = cellblock.request("POST", "/grade", json.dumps(body).encode(), {"Content-Type": "application/json"})
    assert answer.json["verdict"] == "AC", answer.text


def test_the_command_line_runs_it(cellblock: Server, tmp_path: pathlib.Path) -> None:
    program = tmp_path / "Foo.java"
    program.write_text(f"public class Foo {{ {HELLO} }}")
    done = subprocess.run([COMMAND, "run", program], env=os.environ, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("hello NONCE\n", 0), done.stderr


def test_a_heap_that_fills_is_not_collected_whole_before_it_is_full(cellblock: Server) -> None:
    """A map of a million integers lives in the heap that there is; each time that the heap grew took all of it in hand."""
    code = """
import java.lang.management.*;
import java.util.*;
public class Main {
    public static void main(String[] a) {
        Map<Integer, Integer> map = new HashMap<>();
        for (int i = 0; i < 1_000_000; i++) map.merge(i * 7919, 1, Integer::sum);
        for (GarbageCollectorMXBean one : ManagementFactory.getGarbageCollectorMXBeans())
            if (one.getName().equals("MarkSweepCompact")) System.out.println(map.size() + " " + one.getCollectionCount());
    }
}
"""
    test = graded(cellblock, "java", code, "1000000 0\n")
    assert test["verdict"] == "AC", test
