//! Handoff runs end-to-end tests, written as WebAssembly components, against deployed systems.
//!
//! `ARCHITECTURE.md` beside this crate tells how the parts work together.

pub mod model;
