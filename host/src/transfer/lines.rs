//! The lines of an export.

use std::collections::BTreeSet;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::model::{
    AttemptDetail, Digest, Fixtures, Gated, Marks, Pin, Plugin, Policy, RunEvent, RunId, Schedule,
    SuiteId, SuiteVersion, Trigger,
};
use crate::storage::Known;

/// The format that is written, and the newest that is read.
pub(super) const FORMAT: u32 = 1;

/// How much of a file stands in one line.
pub(super) const DATA_BYTES: usize = 48 << 10;

/// The longest line: the detail of an attempt, escaped. Not a setting: a part of the format.
pub(super) const LINE_BYTES: usize = 64 << 20;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Line {
    HandoffExport { format: u32, by: String },
    Blob { digest: Digest, size_bytes: u64 },
    Data(String),
    Version { version: Box<SuiteVersion>, uploaded_at: Timestamp, fixtures: Option<Fixtures> },
    Policy { suite: SuiteId, policy: Box<Policy>, secrets: BTreeSet<String> },
    Marks { suite: SuiteId, marks: Marks },
    Number { suite: SuiteId, highest: u64 },
    Known { suite: SuiteId, known: Known },
    Schedule(Box<Schedule>),
    Trigger(Box<Trigger>),
    Plugin { plugin: Box<Plugin>, secrets: BTreeSet<String> },
    Run { id: RunId, pin: Option<Pin>, said: Option<Box<Gated>> },
    Event { event: Box<RunEvent>, detail: Option<Box<AttemptDetail>> },
    End { lines: u64, runs: u64, digest: Digest },
}

/// Bytes as a line holds them.
pub(super) fn data(bytes: &[u8]) -> Line {
    Line::Data(STANDARD.encode(bytes))
}

/// The bytes that a line holds; none if they are not written as [`data`] does.
pub(super) fn bytes(data: &str) -> Option<Vec<u8>> {
    STANDARD.decode(data).ok()
}

/// Counts lines and takes their digest.
#[derive(Default)]
pub(super) struct Sum {
    pub(super) lines: u64,
    hasher: Sha256,
}

impl Sum {
    /// Takes in a line with its line break.
    pub(super) fn add(&mut self, line: &[u8]) {
        self.lines += 1;
        self.hasher.update(line);
    }

    pub(super) fn digest(&self) -> Digest {
        Digest::from_bytes(self.hasher.clone().finalize().into())
    }
}

/// Writes lines.
pub(super) struct Lines<W> {
    out: W,
    pub(super) sum: Sum,
}

impl<W: io::Write> Lines<W> {
    pub(super) fn to(out: W) -> Self {
        Self { out, sum: Sum::default() }
    }

    pub(super) fn write(&mut self, line: &Line) -> io::Result<()> {
        let mut json = serde_json::to_vec(line)?;
        json.push(b'\n');
        self.sum.add(&json);
        self.out.write_all(&json)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
