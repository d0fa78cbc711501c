//! Pages of a list: a range scan that goes on where a cursor says.

use std::ops::Bound;

use super::durable::Database;
use super::{Page, Paged, StorageError, keys, lists};
use crate::model::{Digest, RunId};

/// Enough to tell a cursor of another list, or a mistyped one, from one of this list.
const CHECK_BYTES: usize = 4;

/// Reads one page of the keys that start with `start`. `item` makes an item of the rest of a key, or
/// skips it.
pub(super) fn page<T>(
    database: &Database,
    start: &[u8],
    page: &Page,
    mut item: impl FnMut(&[u8]) -> Result<Option<T>, StorageError>,
) -> Result<Paged<T>, StorageError> {
    let from = match &page.cursor {
        None => Bound::Included(start.to_vec()),
        Some(cursor) => Bound::Excluded([start, &read(start, cursor)?].concat()),
    };
    let limit = page.limit.max(1);
    let mut items = Vec::new();
    let mut last = Vec::new();
    for key in database.range((from, Bound::Unbounded)).keys() {
        let key = key?;
        let Some(rest) = key.strip_prefix(start) else { break };
        if items.len() == limit {
            return Ok(Paged { items, next_cursor: Some(write(start, &last)) });
        }
        if let Some(item) = item(rest)? {
            items.push(item);
            last = rest.to_vec();
        }
    }
    Ok(Paged { items, next_cursor: None })
}

/// Reads one page of a list of runs. `item` makes an item of a run, or skips it.
pub(super) fn page_of_runs<T>(
    database: &Database,
    list: &[u8],
    page: &Page,
    mut item: impl FnMut(RunId) -> Result<Option<T>, StorageError>,
) -> Result<Paged<T>, StorageError> {
    let mut after = match &page.cursor {
        None => None,
        Some(cursor) => Some(keys::read_run(&read(list, cursor)?).ok_or(StorageError::BadCursor)?),
    };
    let limit = page.limit.max(1);
    let (mut items, mut last) = (Vec::new(), None);
    loop {
        // One more, to know whether there is.
        let runs = lists::newest(database, list, after, limit.saturating_add(1))?;
        let is_end = runs.len() <= limit;
        for run in runs {
            if items.len() == limit {
                let rest = last.map(keys::place).unwrap_or_default();
                return Ok(Paged { items, next_cursor: Some(write(list, &rest)) });
            }
            after = Some(run);
            if let Some(found) = item(run)? {
                items.push(found);
                last = Some(run);
            }
        }
        if is_end {
            return Ok(Paged { items, next_cursor: None });
        }
    }
}

/// A cursor is the rest of the last key and a check over list and key, in hexadecimal digits.
fn write(start: &[u8], rest: &[u8]) -> String {
    hex::encode([rest, &check(start, rest)].concat())
}

fn read(start: &[u8], cursor: &str) -> Result<Vec<u8>, StorageError> {
    let mut rest = hex::decode(cursor).map_err(|_| StorageError::BadCursor)?;
    let at = rest.len().checked_sub(CHECK_BYTES).ok_or(StorageError::BadCursor)?;
    let found = rest.split_off(at);
    if found == check(start, &rest) { Ok(rest) } else { Err(StorageError::BadCursor) }
}

fn check(start: &[u8], rest: &[u8]) -> [u8; CHECK_BYTES] {
    let mut check = [0; CHECK_BYTES];
    let digest = Digest::of(&[start, &[0], rest].concat());
    check.copy_from_slice(&digest.as_bytes()[..CHECK_BYTES]);
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_on_in_its_own_list_only() {
        let cursor = write(b"list", b"key");
        assert_eq!(read(b"list", &cursor).unwrap(), b"key");
        for bad in ["", "zz", "00", "0011223344", &cursor[2..], &format!("{cursor}00"), "größe"] {
            assert!(matches!(read(b"list", bad), Err(StorageError::BadCursor)), "{bad}");
        }
        assert!(matches!(read(b"other", &cursor), Err(StorageError::BadCursor)));
    }
}
