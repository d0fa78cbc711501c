//! Handoff runs end-to-end tests, written as WebAssembly components, against deployed systems.
//!
//! `ARCHITECTURE.md` beside this crate tells how the parts work together.

// They panic when nobody can read, for example when a disk is full or a pipe is closed.
#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod app;
pub mod cli;
pub mod compile;
pub mod config;
pub mod http;
pub mod metrics;
pub mod model;
pub mod plugins;
pub mod program;
pub mod report;
pub mod retention;
pub mod runner;
pub mod scheduler;
pub mod statistics;
pub mod storage;
pub mod telemetry;
pub mod transfer;
pub mod triggers;
pub mod wasm;
pub mod web;
