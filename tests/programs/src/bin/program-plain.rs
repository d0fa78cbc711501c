//! A program that says how it went by its exit code. The environment says how it goes.

use std::process::ExitCode;

fn main() -> ExitCode {
    println!("{} arguments", std::env::args().count() - 1);
    match std::env::var("END").as_deref() {
        Ok("panic") => panic!("no disk"),
        Ok("abort") => std::process::abort(),
        Ok("loop") => loop {
            std::hint::black_box(0);
        },
        Ok(code) => {
            eprintln!("the disk is gone");
            ExitCode::from(code.parse::<u8>().unwrap_or(1))
        }
        Err(_) => ExitCode::SUCCESS,
    }
}
