//! Prints in one run what the server does, and beside each figure what it is measured against.
//!
//! Started by `cargo xtask bench`, which builds the server and the guests in release mode. All traffic
//! goes to loopback, every loop is bounded, and the server is ended with the bench.

mod baseline;
mod figures;
mod load;
mod server;
mod store;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

/// Measures a Handoff server through its front door.
#[derive(Parser)]
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
    #[arg(long, default_value_t = 3)]
    rounds: u32,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        anyhow::bail!("failed to set up TLS: a provider is installed already");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!("cores: {}", std::thread::available_parallelism()?);
    let bare = baseline::attempts_per_second(&args.guests, args.rounds)
        .map_err(|error| anyhow::anyhow!("the bare loop failed: {error:?}"))?;
    runtime.block_on(async {
        load::attempts_per_second(&args.server_binary, &args.guests, args.rounds, bare).await?;
        load::post_to_finished(&args.server_binary, &args.guests).await?;
        load::overshoot(&args.server_binary, &args.guests, args.rounds).await?;
        load::memory(&args.server_binary, &args.guests).await?;
        store::lists_and_start(&args.server_binary, &args.guests, 100, args.stored).await
    })
}
