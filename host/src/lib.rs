//! Handoff runs end-to-end tests, written as WebAssembly components, against deployed systems.
//!
//! `ARCHITECTURE.md` beside this crate tells how the parts work together.

pub mod app;
pub mod cli;
pub mod compile;
pub mod config;
pub mod http;
pub mod metrics;
pub mod model;
pub mod program;
pub mod report;
pub mod runner;
pub mod scheduler;
pub mod storage;
pub mod telemetry;
pub mod wasm;
pub mod web;
