fn main() {
    loop {
        println!("{}", "x".repeat(99));
    }
}
