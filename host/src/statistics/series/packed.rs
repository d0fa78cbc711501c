//! A series in few bytes, as it is stored: it is read and written with each result of a test.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::Seen;
use super::{Brief, Series, Totals};
use crate::model::{Digest, RunId};

/// The fields of a [`Series`] in an order that never changes: postcard tells them apart by it alone.
#[derive(Serialize, Deserialize)]
struct Packed<'a> {
    next: u64,
    kept: u64,
    totals: Totals,
    recent: Cow<'a, [Brief]>,
    conditions: Cow<'a, [u64]>,
    last: Option<PackedSeen>,
    last_passed: Option<PackedSeen>,
    last_failed: Option<PackedSeen>,
    failing_since: Option<PackedSeen>,
    failing: u64,
    clean: u64,
    flaky_since: Option<PackedSeen>,
    judged_from: u64,
}

#[derive(Serialize, Deserialize)]
struct PackedSeen {
    place: u64,
    run: [u8; 16],
    number: u64,
    /// In nanoseconds since 1970.
    at: i128,
    version: [u8; 32],
    reference: Option<String>,
}

impl Series {
    /// The series as [`Series::unpack`] reads it.
    pub fn pack(&self) -> Result<Vec<u8>, postcard::Error> {
        let seen = |seen: &Option<Seen>| seen.as_ref().map(PackedSeen::from);
        postcard::to_allocvec(&Packed {
            next: self.next,
            kept: self.kept,
            totals: self.totals,
            recent: Cow::Borrowed(&self.recent),
            conditions: Cow::Borrowed(&self.conditions),
            last: seen(&self.last),
            last_passed: seen(&self.last_passed),
            last_failed: seen(&self.last_failed),
            failing_since: seen(&self.failing_since),
            failing: self.failing,
            clean: self.clean,
            flaky_since: seen(&self.flaky_since),
            judged_from: self.judged_from,
        })
    }

    /// The series that became these bytes; an error if none did.
    pub fn unpack(bytes: &[u8]) -> Result<Self, postcard::Error> {
        let packed: Packed<'_> = postcard::from_bytes(bytes)?;
        let seen = |seen: Option<PackedSeen>| seen.map(Seen::try_from).transpose();
        Ok(Self {
            next: packed.next,
            kept: packed.kept,
            totals: packed.totals,
            recent: packed.recent.into_owned(),
            conditions: packed.conditions.into_owned(),
            last: seen(packed.last)?,
            last_passed: seen(packed.last_passed)?,
            last_failed: seen(packed.last_failed)?,
            failing_since: seen(packed.failing_since)?,
            failing: packed.failing,
            clean: packed.clean,
            flaky_since: seen(packed.flaky_since)?,
            judged_from: packed.judged_from,
        })
    }
}

impl From<&Seen> for PackedSeen {
    fn from(seen: &Seen) -> Self {
        Self {
            place: seen.place,
            run: *seen.run.as_bytes(),
            number: seen.number,
            at: seen.at.as_nanosecond(),
            version: *seen.version.as_bytes(),
            reference: seen.reference.clone(),
        }
    }
}

impl TryFrom<PackedSeen> for Seen {
    type Error = postcard::Error;

    fn try_from(packed: PackedSeen) -> Result<Self, postcard::Error> {
        let at = Timestamp::from_nanosecond(packed.at);
        Ok(Self {
            place: packed.place,
            run: RunId::from_bytes(packed.run),
            number: packed.number,
            at: at.map_err(|_| postcard::Error::SerdeDeCustom)?,
            version: Digest::from_bytes(packed.version),
            reference: packed.reference,
        })
    }
}
