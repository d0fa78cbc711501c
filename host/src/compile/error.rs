//! Why an upload does not become a suite, in words for the person who uploaded it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::offered::{RUN, TESTS};

/// How much of a foreign text is shown, in characters.
const SHOWN_CHARS: usize = 1_000;
/// What may be uploaded.
const EXPECTED: &str = "a component that exports handoff:suite/tests@0.1.0, or a test program for WASI \
                        preview 1 or 2";
/// How many names are shown in one message.
const SHOWN_NAMES: usize = 12;

/// Why bytes are not accepted as a suite. The messages are for the person who uploaded.
///
/// Serialisable because the verdict is reached in a child process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// No bytes at all.
    #[error("accept it: it is empty; upload {EXPECTED}")]
    Empty,
    /// Larger than `compile.component_bytes`.
    #[error(
        "accept it: it has {size_bytes} bytes and this server takes {cap_bytes} at most \
         (compile.component_bytes); strip its debug information, or ask the operator for more"
    )]
    TooLarge {
        /// Its size.
        size_bytes: u64,
        /// The setting.
        cap_bytes: u64,
    },
    /// Something else altogether.
    #[error("accept it: it is not WebAssembly, it starts with {start}{kind}; upload {EXPECTED}")]
    NotWasm {
        /// The first bytes, readable.
        start: String,
        /// What that looks like, as `: a zip archive`, or nothing.
        kind: String,
    },
    /// WebAssembly in its text format.
    #[error(
        "accept it: it is WebAssembly text; turn it into a binary first, for example with \
         `wasm-tools parse FILE.wat -o FILE.wasm`"
    )]
    Text,
    /// A module that is neither a suite nor a program.
    #[error(
        "accept it: it is a core module and exports neither _start, as a test program for WASI \
         preview 1 does, nor the functions of {TESTS}, as binding generators name them; upload \
         {EXPECTED}"
    )]
    CoreModule,
    /// A module for another system than WASI preview 1.
    #[error(
        "accept it: it is a core module for another system: it imports {name} from {module}; build \
         it for WASI preview 1 or 2 (in Rust the target wasm32-wasip1 or wasm32-wasip2, in Go \
         GOOS=wasip1)"
    )]
    CoreImport {
        /// Where from.
        module: String,
        /// What.
        name: String,
    },
    /// A module that the encoder of components refuses.
    #[error("accept it: it is a core module, and no component can be made of it: {message}")]
    NotAdapted {
        /// What the encoder says.
        message: String,
    },
    /// A binary format from another time.
    #[error(
        "accept it: its binary format (version {version}, layer {layer}) is unknown here; rebuild it \
         with current tools as {EXPECTED}"
    )]
    UnknownFormat {
        /// The version in the header; 13 for components.
        version: u16,
        /// The layer in the header; 1 for components.
        layer: u16,
    },
    /// It stops in the middle.
    #[error(
        "accept it: it breaks off after {size_bytes} bytes, in the middle of something; build it or \
         upload it again"
    )]
    Truncated {
        /// How much there is.
        size_bytes: u64,
    },
    /// It breaks a rule of WebAssembly, or uses a proposal that is switched off here.
    #[error("accept it: it is not valid WebAssembly, or not of the kind taken here: {message}")]
    Invalid {
        /// What the validator says, and where.
        message: String,
    },
    /// A bound of [`Structure`](super::Structure) is exceeded.
    #[error(
        "accept it: it has more {bound} than the {limit} that this server takes ({})",
        bound.setting()
    )]
    TooComplex {
        /// Which bound.
        bound: Bound,
        /// The setting.
        limit: u64,
    },
    /// A component, but neither a suite nor a program.
    #[error(
        "accept it: it exports neither {TESTS}, as a suite does, nor {RUN}, as a test program does; \
         it exports {}",
        listed(exports, *more)
    )]
    NoTests {
        /// What it exports instead, a few of them.
        exports: Vec<String>,
        /// How many more there are.
        more: usize,
    },
    /// It needs another version of something that there is.
    #[error("accept it: it needs {import}, and this server offers {offered}; {advice}")]
    ImportVersion {
        /// The import.
        import: String,
        /// The versions that would match.
        offered: String,
        /// What to do.
        advice: String,
    },
    /// It needs something that there is not.
    #[error(
        "accept it: it imports {import}, which this server does not offer{}",
        nearest_hint(nearest)
    )]
    UnknownImport {
        /// The import.
        import: String,
        /// The nearest thing that is offered, if any is near.
        nearest: Option<String>,
    },
}

/// A bound on structure: see the fields of [`Structure`](super::Structure).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Depth of nesting.
    Nesting,
    /// Modules and components.
    Modules,
    /// Instances.
    Instances,
    /// Functions.
    Functions,
    /// Types.
    Types,
    /// Imports and exports.
    Names,
    /// Bytes of one name.
    NameBytes,
}

impl Bound {
    /// The setting.
    pub fn setting(self) -> &'static str {
        match self {
            Self::Nesting => "compile.structure.nesting",
            Self::Modules => "compile.structure.modules",
            Self::Instances => "compile.structure.instances",
            Self::Functions => "compile.structure.functions",
            Self::Types => "compile.structure.types",
            Self::Names => "compile.structure.names",
            Self::NameBytes => "compile.structure.name_bytes",
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nesting => "levels of nesting",
            Self::Modules => "modules",
            Self::Instances => "instances",
            Self::Functions => "functions",
            Self::Types => "types",
            Self::Names => "imports and exports",
            Self::NameBytes => "bytes in a name",
        })
    }
}

/// Why there is no compiled component.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CompileError {
    /// The bytes are no suite.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The queue is full (`compile.queue`).
    #[error("compile it: too many uploads wait already; try again in a moment")]
    Busy,
    /// It went beyond a bound on time, memory or size.
    #[error("compile it: it took more than {limit} ({name})")]
    Limit {
        /// The setting.
        name: &'static str,
        /// Its value, with its unit.
        limit: String,
    },
    /// The compiler or the engine refuses the component.
    #[error("compile it: {0}")]
    Failed(String),
    /// What was uploaded is not there any more, or cannot be read.
    #[error("read the component: {0}")]
    Unread(String),
    /// The server's own fault.
    #[error("compile it")]
    Host(#[source] Arc<anyhow::Error>),
}

impl CompileError {
    /// Whether the same bytes would fail in the same way again. What depends on the machine's load
    /// (waiting, the clock) or on the server's own state does not count.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Rejected(_) | Self::Failed(_) => true,
            Self::Limit { name, .. } => *name != super::child::WALL,
            Self::Busy | Self::Unread(_) | Self::Host(_) => false,
        }
    }
}

impl From<anyhow::Error> for CompileError {
    fn from(cause: anyhow::Error) -> Self {
        Self::Host(Arc::new(cause))
    }
}

/// `text` without control characters and of bounded length: it may be hostile.
pub(super) fn shown(text: &str) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut out: String = chars.by_ref().take(SHOWN_CHARS).collect();
    if chars.next().is_some() {
        out.push('…');
    }
    out
}

/// The first few of `names`, and how many were left out.
pub(super) fn first_few(names: &[String]) -> (Vec<String>, usize) {
    let few: Vec<_> = names.iter().take(SHOWN_NAMES).map(|name| shown(name)).collect();
    let more = names.len() - few.len();
    (few, more)
}

fn listed(names: &[String], more: usize) -> String {
    match (names, more) {
        ([], _) => "nothing".into(),
        (names, 0) => names.join(", "),
        (names, more) => format!("{} and {more} more", names.join(", ")),
    }
}

fn nearest_hint(nearest: &Option<String>) -> String {
    match nearest {
        Some(nearest) => format!("; the nearest that it does offer is {nearest}"),
        None => String::new(),
    }
}
