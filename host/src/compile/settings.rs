//! The bounds on compiling, with their defaults.

use serde::{Deserialize, Serialize};

/// What uploads may cost before the first of their code runs. The `[compile]` table of
/// `handoff.toml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CompileSettings {
    /// The largest component, in bytes. Default: 64 MiB.
    pub component_bytes: u64,
    /// The largest result of compiling one component, in bytes. Default: 256 MiB; compiled code is
    /// one to four times as large as the component (JavaScript: 14 MiB become 33 MiB).
    pub compiled_bytes: u64,
    /// Address space of a child process, which bounds the memory that it takes, in bytes. Some
    /// 100 MiB are needed for the child itself. Default: 2 GiB.
    pub memory_bytes: u64,
    /// Processor time of one compilation, in milliseconds, rounded up to whole seconds. Default:
    /// 120 s.
    pub cpu_ms: u64,
    /// Time of one compilation by the clock, in milliseconds. Default: 180 s.
    pub wall_ms: u64,
    /// How many components are compiled at once. Each takes one processor at low priority.
    /// Default: 1.
    pub concurrency: usize,
    /// How many uploads may wait for that, and as many again for inspection; each keeps its bytes
    /// in memory meanwhile. Default: 16.
    pub queue: usize,
    /// Time to inspect one upload, both of the processor (rounded up to whole seconds) and by the
    /// clock, in milliseconds. Default: 20 s.
    pub inspect_ms: u64,
    /// How many uploads are inspected at once. Default: 2.
    pub inspections: usize,
    /// How much debug information of a component (its `.debug_*` sections, over all nested modules) is
    /// read for the files and lines of backtraces, and how large the table made of it may be, in bytes.
    /// Of a component with more, backtraces show the names of functions only. Default: 32 MiB; a Rust
    /// suite has some 2 MiB, of which 1 MiB of table are made.
    pub debug_bytes: u64,
    /// How much structure a component may have.
    pub structure: Structure,
    /// How many compiled components are kept loaded; the one not used for longest goes first.
    /// Default: 32.
    pub loaded: usize,
    /// Size of these together, in bytes; a larger one is not kept. Default: 1 GiB.
    pub loaded_bytes: u64,
    /// Size of the compiled components kept on disk, in bytes; the one not used for longest goes
    /// first. 0 keeps none. Default: 2 GiB.
    pub cache_bytes: u64,
    /// How many failures are remembered, so that the same bytes do not cost the same again.
    /// Default: 1,000.
    pub remembered_failures: usize,
}

impl Default for CompileSettings {
    fn default() -> Self {
        Self {
            component_bytes: 64 << 20,
            compiled_bytes: 256 << 20,
            memory_bytes: 2 << 30,
            cpu_ms: 120_000,
            wall_ms: 180_000,
            concurrency: 1,
            queue: 16,
            inspect_ms: 20_000,
            inspections: 2,
            debug_bytes: 32 << 20,
            structure: Structure::default(),
            loaded: 32,
            loaded_bytes: 1 << 30,
            cache_bytes: 2 << 30,
            remembered_failures: 1_000,
        }
    }
}

/// How much structure a component may have, counted over all that is nested in it. The defaults are
/// several times what the largest suites need: a Python interpreter has some 30 modules and 40,000
/// functions. The `[compile.structure]` table of `handoff.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Structure {
    /// How deep components and modules may nest. Default: 16.
    pub nesting: u64,
    /// Core modules and nested components together. Default: 500.
    pub modules: u64,
    /// Instances, of modules and of components. Default: 2,000.
    pub instances: u64,
    /// Functions, defined or adapted. Default: 500,000.
    pub functions: u64,
    /// Type definitions. Default: 500,000.
    pub types: u64,
    /// Imports and exports of the component itself. Default: 1,000.
    pub names: u64,
    /// Length of the name of one of these, in bytes. Default: 512.
    pub name_bytes: u64,
}

impl Default for Structure {
    fn default() -> Self {
        Self {
            nesting: 16,
            modules: 500,
            instances: 2_000,
            functions: 500_000,
            types: 500_000,
            names: 1_000,
            name_bytes: 512,
        }
    }
}
