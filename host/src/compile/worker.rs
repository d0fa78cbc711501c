//! The child process: `handoff compile-worker ORDER`.
//!
//! Reads one component from stdin, inspects or compiles it, writes one answer to stdout. What that
//! costs is not bounded by the size of the input (the makers of the compiler say so), so it happens
//! here, under limits that the process gives itself before it reads the first hostile byte. It has
//! no environment, no files and no other input than stdin.

use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;
use std::thread;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, Ruleset, RulesetAttr as _, RulesetError, RulesetStatus,
    Scope,
};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit};

use super::adapt;
use super::error::shown;
use super::inspect::inspect;
use super::order::{self, Job, Order, Refusal};
use super::symbols::Symbols;
use crate::wasm;

/// Stack of the thread that works: validation and compilation recurse over the input.
const STACK_BYTES: usize = 64 << 20;
/// Open files: the three standard ones and some to spare.
const FILES: u64 = 16;
/// Of 19: everything else on the machine goes first.
const NICE: i32 = 10;

/// The body of `handoff compile-worker`; called by main before anything else is set up.
pub fn worker_main() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The server may have left.
            _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn work() -> io::Result<()> {
    let order = std::env::args_os()
        .nth(2)
        .and_then(|order| serde_json::from_str::<Order>(order.to_str()?).ok())
        .ok_or_else(|| io::Error::other("`compile-worker` is for the server's own use"))?;
    confine(&order)?;
    let mut input = vec![0; order.input_bytes as usize];
    io::stdin().read_exact(&mut input)?;
    end_with_parent();
    let thread = thread::Builder::new().stack_size(STACK_BYTES);
    let done = match thread.spawn(move || perform(&order, &input)) {
        Ok(working) => {
            working.join().unwrap_or_else(|cause| Err(Refusal::Failed(panicked(&*cause))))
        }
        // There is no memory for its stack: see pthread_create(3) for the error's number.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Refusal::Memory),
        Err(error) => return Err(error),
    };
    let mut out = io::stdout().lock();
    match done {
        Ok(payload) => order::answer(&mut out, true, &payload),
        Err(refusal) => order::answer(&mut out, false, &serde_json::to_vec(&refusal)?),
    }
}

fn perform(order: &Order, input: &[u8]) -> Result<Vec<u8>, Refusal> {
    match order.job {
        Job::Inspect => {
            let names = inspect(input, &order.structure).map_err(Refusal::Rejected)?;
            serde_json::to_vec(&names).map_err(|error| Refusal::Failed(error.to_string()))
        }
        Job::Compile { metered } => {
            let component = adapt::component(input).map_err(Refusal::Rejected)?;
            let code = compile(metered, &component).map_err(|error| {
                if out_of_memory(&error) {
                    Refusal::Memory
                } else {
                    Refusal::Failed(shown(&format!("{error:#}")))
                }
            })?;
            let failed = |error: &dyn std::fmt::Display| Refusal::Failed(shown(&error.to_string()));
            let symbols = Symbols::read(&component, order.debug_bytes).map_err(|e| failed(&e))?;
            let symbols = postcard::to_allocvec(&symbols).map_err(|e| failed(&e))?;
            Ok(order::packed(code, &symbols))
        }
    }
}

/// On this one thread: the time limit is then one of work, memory does not depend on the machine,
/// and the other processors stay with the tests that run.
fn compile(metered: bool, input: &[u8]) -> wasmtime::Result<Vec<u8>> {
    let mut config = wasm::config(metered);
    config.parallel_compilation(false);
    wasmtime::Engine::new(&config)?.precompile_component(input)
}

fn out_of_memory(error: &wasmtime::Error) -> bool {
    error.is::<wasmtime::error::OutOfMemory>()
        || error.chain().any(|cause| {
            cause.downcast_ref::<Errno>() == Some(&Errno::NOMEM)
                || cause.downcast_ref::<io::Error>().is_some_and(|cause| {
                    cause.raw_os_error() == Some(Errno::NOMEM.raw_os_error())
                        || cause.kind() == io::ErrorKind::OutOfMemory
                })
        })
}

fn panicked(cause: &(dyn std::any::Any + Send)) -> String {
    let message = cause
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| cause.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    format!("the compiler panicked: {}", shown(message))
}

fn confine(order: &Order) -> io::Result<()> {
    let limit = |resource, soft, hard| {
        let limit = Rlimit { current: Some(soft), maximum: Some(hard) };
        rustix::process::setrlimit(resource, limit)
    };
    let seconds = order.cpu_ms.div_ceil(1_000).max(1);
    limit(Resource::As, order.memory_bytes, order.memory_bytes)?;
    // At the soft limit comes SIGXCPU, by which the parent knows the reason.
    limit(Resource::Cpu, seconds, seconds + 1)?;
    limit(Resource::Core, 0, 0)?;
    limit(Resource::Fsize, 0, 0)?;
    limit(Resource::Nofile, FILES, FILES)?;
    rustix::process::nice(NICE)?;
    rustix::thread::set_no_new_privs(true)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // A kernel without Landlock, or with an older one, does as much of it as it can.
    seal().map(drop).map_err(io::Error::other)
}

/// From here on this thread and those that it starts open no file, connect to nothing by TCP and
/// signal nobody else: the pipes that are open are all that the work needs. There is no filter of
/// system calls beside it: the list of those that the allocator, threads and Rust's library make would
/// have to follow each of them.
fn seal() -> Result<RulesetStatus, RulesetError> {
    let abi = ABI::V6;
    let rules = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?;
    Ok(rules.create()?.restrict_self()?.ruleset)
}

/// The parent keeps stdin open until it has the answer: when it closes, nobody waits any more.
/// (The signal that Linux offers for this comes when the parent's *thread* ends.)
fn end_with_parent() {
    let watch = || {
        let _ = io::stdin().read(&mut [0]);
        std::process::exit(1);
    };
    // Without this thread the time limits still hold.
    drop(thread::Builder::new().stack_size(64 << 10).spawn(watch));
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_sealed_thread_opens_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let tries = move || {
            let status = seal().unwrap();
            let refused = |error: Option<io::Error>| {
                error.is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
            };
            let file = refused(File::open(env!("CARGO_MANIFEST_DIR")).err());
            (status, file, refused(TcpStream::connect(address).err()))
        };
        let (status, file, tcp) = thread::spawn(tries).join().unwrap();
        match status {
            RulesetStatus::FullyEnforced => assert!(file && tcp),
            RulesetStatus::PartiallyEnforced => assert!(file),
            RulesetStatus::NotEnforced => assert!(!file && !tcp, "the kernel has no Landlock"),
        }
    }
}
