//! The project's own commands: `cargo xtask guests`, `sdks`, `programs`, `demo`, `test`, `deploy` and
//! `bench`.
//!
//! Needs nothing but cargo and, once, rustup for the guests' target. What each command does is in the
//! module of its name; this file knows the command line only.

mod bench;
mod children;
mod demo;
mod deploy;
mod guests;
mod http;
mod page;
mod programs;
mod proof;
mod receiver;
mod sdks;
mod test;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Handoff's own commands")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build every suite and plugin of this repository to target/guests/NAME.wasm
    Guests,
    /// Build the suites of the SDKs to target/guests/LANGUAGE-….wasm
    Sdks {
        /// The languages. Default: all whose tools are there
        names: Vec<String>,
        /// Only name the languages whose tools are there, separated by commas
        #[arg(long, conflicts_with = "names")]
        list: bool,
    },
    /// Run the tests of published crates and of Go's library natively and here, and compare
    Programs(proof::Args),
    /// Build everything, start a server with the examples, run them and keep serving
    Demo(demo::Args),
    /// Build the guests and run every test; arguments go to `cargo test`
    #[command(disable_help_flag = true)]
    Test {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Check the action, the image, the chart and their documentation, as far as tools for that are here
    Deploy,
    /// Measure the server against a bare wasmtime loop; arguments go to the bench
    #[command(disable_help_flag = true)]
    Bench {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let workspace = Workspace::read()?;
    match args.command {
        Command::Guests => guests::build(&workspace).map(|_| ExitCode::SUCCESS),
        Command::Sdks { list: true, .. } => {
            println!("{}", sdks::list());
            Ok(ExitCode::SUCCESS)
        }
        Command::Sdks { names, .. } => sdks::build(&workspace, &names).map(|()| ExitCode::SUCCESS),
        Command::Programs(args) => proof::run(&workspace, &args),
        Command::Demo(args) => demo::run(&workspace, &args),
        Command::Test { args } => test::run(&workspace, &args),
        Command::Deploy => deploy::run(&workspace),
        Command::Bench { args } => bench::run(&workspace, &args),
    }
}
