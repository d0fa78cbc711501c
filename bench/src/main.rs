//! Prints in one run what the server does, and beside each figure what it is measured against.
//!
//! Started by `cargo xtask bench`, which builds the server and the guests in release mode. All traffic
//! goes to loopback, every loop is bounded, and each server is ended with the part that needs it.
//!
//! | part | what it prints | measured against |
//! | --- | --- | --- |
//! | `attempts` | attempts per second of a suite of 1,000 trivial tests, from the request to the whole result in the client's hands, everything on; what each costs the processors | a bare loop: same component, engine, limits, fuel and ticking epochs, in a process like the server's |
//! | `latency` | from POST to finished of a suite of one trivial test, at 1, 8 and 32 clients | an answer to /healthz, and a durable write, of which a run needs two |
//! | `deadlines` | how far 64 attempts at once pass their deadline: loops, sleeps, a silent socket, host calls; /healthz meanwhile | the same loops without a server; timers; /healthz when idle |
//! | `memory` | resident memory when idle and for each attempt under way; what endless allocation costs | the limits |
//! | `store` | start-up and list latency with many runs stored | the same with 100 runs |
//! | `pages` | how long the server takes to draw each page with many runs stored, and its size over the wire | the same with 100 runs; an answer to /healthz |
//! | `retention` | from POST to finished while 100,000 runs are forgotten | the same while nothing is |
//! | `schedules` | how late the runs of 1,000 schedules start that are due in the same second | as many requests for runs |
//! | `statistics` | the statistics of a test with 100,000 attempts | those of a test with 100; an answer to /healthz |
//! | `plugins` | from POST to finished beside plugins that trap, loop, sleep, allocate and flood | the same without plugins, by turns |
//! | `languages` | what a suite costs in each language: to compile, to load, the first verdict, each attempt, metering | reading the same file; a command that does nothing; a bare loop; an engine that does not meter |
//!
//! How each is taken and how to read it is in `bench/README.md`. Give `--only PART` to repeat a part.

mod baseline;
mod deadlines;
mod figures;
mod languages;
mod memory;
mod pages;
mod plugins;
mod retention;
mod schedules;
mod server;
mod statistics;
mod store;
mod throughput;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, ValueEnum};

/// Measures a Handoff server through its front door.
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Args {
    /// The server's binary.
    #[arg(long)]
    server_binary: PathBuf,
    /// Where the guests are, as `cargo xtask guests` leaves them.
    #[arg(long)]
    guests: PathBuf,
    /// How many runs the large store holds.
    #[arg(long, default_value_t = 100_000)]
    stored: u64,
    /// How often each thing is measured.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Measure only this; may be given several times.
    #[arg(long)]
    only: Vec<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Attempts,
    Latency,
    Deadlines,
    Memory,
    Store,
    Pages,
    Retention,
    Schedules,
    Statistics,
    Plugins,
    Languages,
}

/// What is measured, and how often.
struct Setup {
    server_binary: PathBuf,
    guests: PathBuf,
    stored: u64,
    rounds: u32,
    cores: usize,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        anyhow::bail!("failed to set up TLS: a provider is installed already");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let cores = std::thread::available_parallelism()?.get();
    let Args { server_binary, guests, stored, rounds, only } = args;
    let server_binary = std::path::absolute(server_binary)?;
    let setup = Setup { server_binary, guests, stored, rounds: rounds.max(1), cores };
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("{cores} processors; load of the machine before the start: {}", load.trim());
    for part in Part::value_variants() {
        if only.is_empty() || only.contains(part) {
            println!("\n== {}", format!("{part:?}").to_lowercase());
            runtime.block_on(measure(*part, &setup))?;
        }
    }
    Ok(())
}

async fn measure(part: Part, setup: &Setup) -> Result<()> {
    match part {
        Part::Attempts => throughput::attempts_per_second(setup).await,
        Part::Latency => throughput::post_to_finished(setup).await,
        Part::Deadlines => deadlines::overshoot(setup).await,
        Part::Memory => {
            memory::idle_and_per_attempt(setup).await?;
            memory::endless_allocation(setup).await
        }
        Part::Store => store::lists_and_start(setup).await,
        Part::Pages => pages::drawn(setup).await,
        Part::Retention => retention::beside_runs(setup).await,
        Part::Schedules => schedules::due_at_once(setup).await,
        Part::Statistics => statistics::of_many_attempts(setup).await,
        Part::Plugins => plugins::post_to_finished_beside_plugins(setup).await,
        Part::Languages => languages::cost(setup).await,
    }
}
