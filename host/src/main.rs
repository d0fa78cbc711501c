//! The binary `handoff`; everything is in the library.

fn main() -> std::process::ExitCode {
    handoff::cli::main(std::env::args_os())
}
