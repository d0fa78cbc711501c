//! The binary `handoff`; everything is in the library.

/// What one thread takes another often gives back here: the details of attempts and the batches of the store.
/// glibc's allocator has the two wait for each other.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    handoff::cli::main(std::env::args_os())
}
