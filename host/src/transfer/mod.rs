//! Moving and backing up: everything that a server keeps as lines of JSON, and back.
//!
//! An export is read while the server works, in bounded memory: what it says of a run is the run as it had
//! ended. An import is laid aside and checked to its end before anything of it is stored; from then on it is
//! stored whole, by the next process if this one ends. So what is cut off leaves nothing.
//!
//! | line | |
//! | --- | --- |
//! | `handoff_export` | the first: the format, and who wrote it |
//! | `blob`, then `data` | a file: component, fixtures or artifact; comes before what names it |
//! | `version`, `policy`, `marks` | of a suite; a policy without the values of its secrets |
//! | `schedule`, `trigger` | what the configuration does not declare, without secrets and what became of times and calls |
//! | `plugin` | a plugin without the values of its secrets, what it keeps and what it was told |
//! | `number`, `known` | of a suite with runs: the highest number that one ever had; its statistics |
//! | `run`, then `event` | a run that has ended, with its pin and what was said of it, and each event with the attempt's detail |
//! | `end` | the last: how many lines and runs there were, and the digest of all lines before |

mod apply;
mod check;
mod export;
mod lines;
mod spool;

pub use apply::{Applied, resume};
pub use check::{Most, TransferError};
pub use export::export;
pub use spool::{Spool, import};
