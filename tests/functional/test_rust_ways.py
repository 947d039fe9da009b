"""A source of Rust is compiled by an included file and a quick linker, and nobody can tell (toolchains/rust/compile.c)."""

import contextlib

import psutil
import pytest

from tests.rust_ways import facts, usual
from tests.server import PREFIX, Server, until

MAIN = 'fn main() { println!("{}", x()); }\n'
BEGINNINGS = {
    "allow": "#![allow(dead_code, unused_variables,)]\nfn x() -> u32 { let y = 1; line!() }\n",
    "allow twice": "#![allow(unused)]\n\n#! [ warn ( clippy::all, non_snake_case ) ]\nfn x() -> u32 { line!() + column!() }\n",
    "documents": "//! It adds.\n/*! and /* more */ of it */ fn x() -> u32 { column!() }\n",
    "documents in Russian": "//! складывает\nfn x() -> u32 { line!() }\n",
    "a bare carriage return": "//! a\rb\nfn x() -> u32 { 1 }\n",
    "comments": "// one\n/* two\n /* three */ */\n\t#![allow(unused)] fn x() -> u32 { line!() + column!() }\n",
    "deny": "#![deny(dead_code)]\nfn x() -> u32 { 1 }\nfn y() {}\n",
    "deny all": "#![deny(warnings)]\nfn x() -> u32 { let y = 1; 2 }\n",
    "forbid": "#![forbid(unsafe_code)]\nfn x() -> u32 { unsafe { 1 } }\n",
    "no such tool": "#![allow(no_tool::no_lint)]\nfn x() -> u32 { 1 }\n",
    "a keyword": "#![allow(fn)]\nfn x() -> u32 { 1 }\n",
    "a lint that is denied": "#![allow(overflowing_literals)]\nfn x() -> u8 { 256 }\n",
    "feature": "#![feature(never_type)]\nfn x() -> u32 { 1 }\n",
    "recursion": "#![recursion_limit = \"300\"]\nmacro_rules! n { () => {0}; ($a:tt $($b:tt)*) => {1 + n!($($b)*)} }\n"
    "fn x() -> u32 { n!(" + "a " * 200 + ") }\n",
    "recursion to the default": "macro_rules! n { () => {0}; ($a:tt $($b:tt)*) => {1 + n!($($b)*)} }\n"
    "fn x() -> u32 { n!(" + "a " * 126 + ") }\n",
    "recursion beyond": "macro_rules! n { () => {0}; ($a:tt $($b:tt)*) => {1 + n!($($b)*)} }\n"
    "fn x() -> u32 { n!(" + "a " * 140 + ") }\n",
    "shebang": "#!/usr/bin/env rust\nfn x() -> u32 { line!() }\n",
    "front matter": "---\n[dependencies]\n---\nfn x() -> u32 { 1 }\n",
    "mark of byte order": "\ufefffn x() -> u32 { column!() }\n",
    "a hash alone": "#",
    "an attribute of nothing": "#[inline]\n",
    "a comment that does not end": "/* a\nfn x() -> u32 { 1 }\n",
    "a document that does not end": "//! a",
}  # fmt: skip
PROGRAMS = {
    "nothing": "",
    "no main": "fn x() {}",
    "main from a macro": "macro_rules! m { ($n:ident) => { fn $n() { println!(\"{}\", module_path!()) } } }\nm!(main);",
    "names": "#[track_caller] fn at() -> String { std::panic::Location::caller().to_string() }\n"
    "fn main() { println!(\"{} {} {} {}\", file!(), line!(), at(), std::any::type_name::<fn()>()) }",
    "panic": "fn main() { let v: Vec<u32> = Vec::new(); println!(\"{}\", v[std::env::args().count()]) }",
    "panic in a thread": "fn main() { std::thread::spawn(|| panic!(\"in it\")).join().unwrap() }",
    "exported macro": "#[macro_export] macro_rules! two { () => { 2 } }\nmod m { pub fn x() -> u32 { crate::two!() } }\n"
    "fn main() { println!(\"{}\", m::x()) }",
    "its own vec": "macro_rules! vec { ($($x:tt)*) => { \"mine\" } }\nfn main() { println!(\"{}\", vec![1, 2]) }",
    "macro_use": "#[macro_use] mod m { macro_rules! three { () => { 3 } } }\nfn main() { println!(\"{}\", three!()) }",
    "extern crate": "extern crate core;\nextern crate alloc as a;\nuse a::rc::Rc;\nfn main() { println!(\"{}\", Rc::new(core::mem::size_of::<u8>())) }",
    "extern crate std": "extern crate std as other;\nfn main() { other::println!(\"{}\", other::cmp::max(1, 2)) }",
    "no such crate": "extern crate rand;\nfn main() {}",
    "const generics": "struct A<const N: usize>([u8; N]);\nimpl<const N: usize> A<N> { const M: usize = N * 2; }\nfn main() { println!(\"{}\", A::<4>::M) }",
    "a module without a file": "mod absent;\nfn main() {}",
    "a module by path": "#[path = \"absent.rs\"] mod absent;\nfn main() {}",
    "a lib": "#[link(name = \"m\")] extern \"C\" { fn cbrt(x: f64) -> f64; }\nfn main() { println!(\"{}\", unsafe { cbrt(27.0) }) }",
    "no such lib": "#[link(name = \"absent\")] extern \"C\" { fn absent(); }\nfn main() { unsafe { absent() } }",
    "no such symbol": "extern \"C\" { fn absent(); }\nfn main() { unsafe { absent() } }",
    "a symbol twice": "#[no_mangle] pub extern \"C\" fn malloc(_: usize) -> *mut u8 { std::ptr::null_mut() }\nfn main() { println!(\"a\") }",
    "wrong type": "fn main() { let x: u32 = \"a\"; }",
    "borrow": "fn main() { let mut v = vec![1]; let a = &v[0]; v.push(2); println!(\"{a}\") }",
    "no such name": "use std::collections::HasMap;\nfn main() { frobnicate(); let x: Absent = 1; }",
    "two errors": "fn a() -> u32 { \"a\" }\nfn main() { let x = 1; x = 2; let unused = 3; }",
    "stray brace": "fn main() {}\n}\nfn a() { b() }",
    "stray semicolon": "fn main() {};\nstruct A {};\n",
    "half a function": "fn main() { println!(\"a\"",
    "no semicolon": "fn main() { let x = 1 let y = 2; }",
    "statement": "let x = 5;\nfn main() {}",
    "string that does not end": "fn main() { println!(\"a) }",
    "character that does not end": "fn main() { let a = 'ab; }",
    "raw string": "fn main() { let a = r##\"a\"#; }",
    "NUL": "fn main() { println!(\"a\0b\") }\0",
    "NUL outside": "fn main() {}\0",
    "emoji": "fn main() { let \U0001f600 = 1; }",
    "words from right to left": "fn main() { println!(\"\u202e\") }",
    "returns": "fn main() {\r\n    println!(\"{}\", line!());\r\n}\r\n",
    "bare return": "fn main() {\r    println!(\"a\"); }",
    "late inner attribute": "fn a() {}\n#![allow(unused)]\nfn main() {}",
    "late inner document": "fn a() {}\n//! late\nfn main() {}",
    "document of nothing": "fn main() {}\n/// of nothing",
    "compile_error": "compile_error!(\"mine\");\nfn main() {}",
    "environment": "fn main() { println!(\"{:?} {:?}\", option_env!(\"LD_PRELOAD\"), option_env!(\"HOME\")) }",
    "includes another": "include!(\"absent.rs\");\nfn main() {}",
    "includes the host": "fn main() { print!(\"{}\", include_str!(\"/etc/hostname\")) }",
    "panics in a constant": "const A: u32 = { assert!(1 > 2); 1 };\nfn main() { println!(\"{A}\") }",
    "warnings": "fn unused() {}\nfn main() { let x = 1; }",
    "denied lint": "#[deny(unused_variables)] fn main() { let x = 1; }",
    "overflow": "fn main() { println!(\"{}\", 255u8 + 1) }",
    "async": "async fn a() -> u32 { 1 }\nfn main() { let _ = a(); async { 1 }.await; }",
    "tests": "#[test] fn a() {}\n#[cfg(test)] mod tests { use super::*; }\nfn main() {}",
    "an allocator": "use std::alloc::System;\n#[global_allocator] static A: System = System;\nfn main() { println!(\"{:?}\", vec![1]) }",
    "main that returns": "fn main() -> Result<(), String> { Err(\"mine\".into()) }",
    "main with arguments": "fn main(a: u32) {}",
    "two mains": "fn main() {}\nfn main() {}",
    "derive": "#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)] struct A { b: u32 }\nfn main() { println!(\"{:?}\", A::default()) }",
    "no such derive": "#[derive(Serialize)] struct A;\nfn main() {}",
    "no such attribute": "#[absent] fn main() {}",
    "no such macro": "fn main() { absent!(1) }",
    "format": "fn main() { println!(\"{} {}\", 1) }",
}  # fmt: skip


@pytest.mark.slow
def test_what_is_compiled_quickly_answers_as_what_is_compiled_as_usual(cellblock: Server) -> None:
    programs = PROGRAMS | {f"begins with {name}": text + MAIN for name, text in BEGINNINGS.items()}
    with usual() as server:
        differ = {
            name: (ours, theirs)
            for name, code in programs.items()
            if (ours := facts(cellblock, code)) != (theirs := facts(server, code))
        }
    assert differ == {}


def test_a_source_can_read_itself_as_it_can_on_a_host(cellblock: Server) -> None:
    """Whichever way it is compiled: its file is there."""
    for beginning in ("", "#![allow(unused)]\n", '#![recursion_limit = "64"]\n'):
        code = beginning + 'fn main() { print!("{}", include_str!("main.rs")); }'
        assert cellblock.execute("rust", code)["output"] == code


def test_what_the_quick_linker_cannot_link_the_usual_one_tells_of(cellblock: Server) -> None:
    answer = cellblock.execute("rust", 'extern "C" { fn absent(); }\nfn main() { unsafe { absent() } }')
    assert answer["reason"] == "compile_error"
    assert answer["error"].startswith("error: linking with `cc` failed")
    assert "undefined symbol: absent" in answer["error"]


def parked(server: Server, command: str) -> set[int]:
    """Processes of this command in the server's jails."""
    group = server.groups()[0]
    inside = {int(pid) for file in group.glob("jails-*/cgroup.procs") for pid in file.read_text().split()}
    found = set()
    for pid in inside:
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).cmdline()[:1] == [command]:
                found.add(pid)
    return found


def test_a_linker_waits_beside_each_parked_rustc_and_where_one_is_killed_others_come() -> None:
    linker, rustc = "/usr/lib/cellblock/ld", "/usr/bin/rustc"
    with Server(languages=["rust"]) as server:
        until(lambda: len(parked(server, linker)) == len(parked(server, rustc)) == 2, 10)
        before = parked(server, linker) | parked(server, rustc)
        psutil.Process(min(parked(server, linker))).kill()
        until(lambda: len(parked(server, linker)) == 2 and len(parked(server, linker) - before) == 1, 10)
        until(lambda: len(parked(server, rustc)) == 2, 10)  # a jail's linker may be there a moment before its rustc
        assert len(parked(server, rustc) - before) == 1
        assert server.execute("rust", 'fn main() { println!("{}", line!()) }')["output"] == "1\n"


def test_a_program_is_linked_by_the_linker_that_proved_itself(cellblock: Server) -> None:
    """Each writes its name to the section .comment. The words are put together here, because the program has its own."""
    code = """fn main() {
        let text = String::from_utf8_lossy(&std::fs::read("/work/main").unwrap()).into_owned();
        let has = |words: &[&str]| text.contains(&std::hint::black_box(words).join(" "));
        println!("{} {}", has(&["Linker:", "Wild"]), has(&["Linker:", "LLD"]));
    }"""
    linker = (PREFIX / "toolchains/rust/usr/lib/cellblock/ld").resolve().name
    assert cellblock.execute("rust", code)["output"] == f"{linker == 'ld'} {linker == 'rust-lld'}\n".lower()
