//! The sandbox: runs a suite's functions in WebAssembly under hard limits, each in a store and an
//! instance of its own, and tells in full how that went.
//!
//! | file | |
//! | --- | --- |
//! | `suite` | [`Sandbox`]: describe a suite, run one attempt |
//! | `program` | describe a program that was not written for us |
//! | `prepared`, `execute`, `verdict` | a linked suite; one call of it; what its end means |
//! | `settings` | what an operator sets |
//! | `engine` | the two engines, their pools, the clock that interrupts guests |
//! | `state` | what a store holds, and the linker |
//! | `bindings`, `convert` | the WIT world as Rust, and its types as the model's |
//! | `context`, `log`, `random`, `fs`, `http`, `tcp` | what a guest may call, one capability each |
//! | `plugin` | call a plugin |
//! | `traffic`, `address` | what HTTP and TCP share: record, bounds, where names lead |
//! | `fixtures` | the files that runs bring along, unpacked once for all |
//! | `limits`, `deadline`, `room` | bounds on memory, tables, instances; on time; on all attempts together |
//! | `secrets` | masks secrets in every text that leaves |
//! | `trap`, `panic` | why a guest did not return, in words |
//!
//! A guest's failure is a value in the [`Attempt`](crate::model::Attempt). A store whose guest
//! trapped, timed out or was cancelled is dropped, as every store is after one call.

mod address;
mod bindings;
mod context;
mod convert;
mod deadline;
mod engine;
mod execute;
mod fixtures;
mod fs;
mod http;
mod limits;
mod log;
mod panic;
mod plugin;
mod prepared;
mod program;
mod random;
mod room;
mod secrets;
mod settings;
mod state;
mod suite;
mod tcp;
mod traffic;
mod trap;
mod verdict;

pub(crate) use engine::refused_by_pools;
pub use engine::{EngineError, Engines, config};
pub use fixtures::{FixtureFiles, FixturesError};
pub use fs::{ArchiveError, FixtureContents, PackError, pack};
pub use plugin::{Hook, HookAnswer, HookDone, HookError, HookOrder, NoReport, Pace, Runs, Values};
pub use settings::{FixtureSettings, SandboxSettings};
pub use suite::{AttemptOrder, DescribeError, Described, Program, Sandbox, SandboxError};

#[cfg(test)]
mod tests;
