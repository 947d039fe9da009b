// A linker that is called directly (link.c) proves itself with this at ./bootstrap, which adds two thousand functions and STEPS:
// threads, unwinding, a backtrace's names, thread-locals, what runs before main, an archive's symbols, a library by its name.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{mpsc, Mutex, OnceLock};

static STARTED: AtomicU32 = AtomicU32::new(0);

extern "C" fn start() {
    STARTED.fetch_add(1, Ordering::SeqCst);
}

#[used]
#[link_section = ".init_array"]
static START: extern "C" fn() = start;

#[link(name = "m")]
extern "C" {
    fn cbrt(x: f64) -> f64;
}

std::arch::global_asm!(".globl twice", "twice: lea (%rdi,%rdi), %rax", "ret", options(att_syntax));
extern "C" {
    fn twice(x: u64) -> u64;
}

thread_local! {
    static OWN: Cell<u64> = Cell::new(1);
}

struct Told<'a>(&'a Mutex<Vec<String>>, u32);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(format!("dropped {}", self.1));
    }
}

trait Shape {
    fn area(&self) -> f64;
}

impl Shape for f64 {
    fn area(&self) -> f64 {
        self * self
    }
}

impl Shape for (f64, f64) {
    fn area(&self) -> f64 {
        self.0 * self.1
    }
}

#[inline(never)]
fn named_in_the_backtrace() -> bool {
    std::backtrace::Backtrace::force_capture().to_string().contains("named_in_the_backtrace")
}

fn main() {
    static ONCE: OnceLock<String> = OnceLock::new();
    println!("{} {:.6} {}", STARTED.load(Ordering::SeqCst), unsafe { cbrt(2.0) }, unsafe { twice(21) });
    println!("{}", STEPS.iter().enumerate().fold(1u64, |x, (number, step)| step(x).wrapping_mul(number as u64 | 1)));

    let (sender, receiver) = mpsc::channel();
    let threads: Vec<_> = (0..4u64)
        .map(|number| {
            let sender = sender.clone();
            std::thread::spawn(move || {
                OWN.with(|own| own.set(own.get() + number));
                sender.send(OWN.with(Cell::get)).unwrap();
                ONCE.get_or_init(|| "once".to_string()).len()
            })
        })
        .collect();
    let lengths: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    let mut found: Vec<u64> = receiver.iter().take(4).collect();
    found.sort();
    println!("{lengths} {found:?} {}", OWN.with(Cell::get));

    let told = Mutex::new(Vec::new());
    std::panic::set_hook(Box::new(|_| ()));
    let caught = std::panic::catch_unwind(|| {
        let (_one, _other) = (Told(&told, 1), Told(&told, 2));
        let none: Option<u32> = std::hint::black_box(None);
        none.expect("a panic")
    });
    println!("{} {:?}", caught.is_err(), told.lock().unwrap());
    println!("{}", named_in_the_backtrace());

    let shapes: Vec<Box<dyn Shape>> = vec![Box::new(3.0), Box::new((2.0, 5.5))];
    let words: HashMap<&str, usize> = "a b a c a b".split(' ').fold(HashMap::new(), |mut words, word| {
        *words.entry(word).or_default() += 1;
        words
    });
    let sorted: BTreeMap<_, _> = words.into_iter().collect();
    println!("{} {sorted:?} {}", shapes.iter().map(|shape| shape.area()).sum::<f64>(), u128::MAX / 7);
    println!("{:?} {:?}", "12x".parse::<i32>(), std::fs::read("/nothing").map_err(|error| error.kind()));
}
