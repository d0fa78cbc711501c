//! Tests through the front door: the real binary, real components, HTTP and the command line.
//!
//! Each module takes one side of what a user relies on. Run by `cargo xtask test`, which builds the
//! server and the components first.

#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected comes")]

mod action;
mod api;
mod attempts;
mod bounds;
mod ci;
mod clearing;
mod cli;
mod clients;
mod components;
mod debug_info;
mod deletion;
mod docs;
mod drain;
mod events;
mod fixtures;
mod full_disk;
mod github;
mod heads;
mod history;
mod idempotency;
mod image;
mod keeping;
mod kill;
mod leaving;
mod lifecycle;
mod limits;
mod long_runs;
mod marks;
mod needs;
mod network;
mod openapi;
mod outcomes;
mod plugin_kills;
mod plugins;
mod programs;
mod reports;
mod results;
mod retrying;
mod schedules;
mod sdk;
mod settings;
mod soak;
mod statistics;
mod steps;
mod transfer;
mod triggers;
mod turns;
mod uploads;
mod wrong_input;
mod wrong_runs;
