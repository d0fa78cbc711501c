//! The keys of the store. One tree holds everything, so that one batch is atomic; a leading byte
//! tells the tables apart. Every list is a range scan: times and run ids are stored inverted and
//! big-endian where the newest is to come first.
//!
//! | table | key after the byte | value |
//! | --- | --- | --- |
//! | `!` | | the format of the whole store |
//! | `+` | key of a value, number (u32) | the part of a value that did not fit (see `values`) |
//! | `v` | suite, digest | version |
//! | `V` | suite, inverted time, digest | |
//! | `f` | suite, digest of the version | fixtures |
//! | `S` | inverted time of the newest version, suite | |
//! | `p` | suite | policy |
//! | `m` | suite | what is said of its tests |
//! | `n` | suite | the highest run number |
//! | `o` | suite, number / 64 (u64) | which run has which of these numbers (see `lists`) |
//! | `r` | inverted run id | summary |
//! | `i` | which of suite, status, reference; these; inverted run id | the runs up to that one (see `lists`) |
//! | `u` | run id | (the run is not finished) |
//! | `e` | run id, number of the first event (u64) | a page of events |
//! | `d` | run id, stage, round, number | detail of an attempt |
//! | `a` | digest of an artifact, run id | (the run has the artifact) |
//! | `I` | run id | pin |
//! | `x` | run id | (the run is forgotten, and not all that it left is gone) |
//! | `c` | name of a schedule | schedule |
//! | `C` | name of a schedule, inverted time | what became of that time |
//! | `Tt` | name of a trigger | trigger |
//! | `Tr` | name of a trigger, inverted time | what became of the call then |
//! | `Tu` | name of a trigger, time | (the call then was not signed) |
//! | `Td` | name of a trigger, mark of a delivery | the run that it started |
//! | `TD` | name of a trigger, time, mark of a delivery | |
//! | `q` | suite, test, or nothing for the suite itself | what is known of its results |
//! | `Q` | suite, test, place | one result |
//! | `w` | state, suite, test | (the test is in this state) |
//! | `g` | suite, fingerprint | group of failures |
//! | `G` | suite, inverted time of the last failure, fingerprint | |
//! | `z` | suite | how many of `q` and `g` there are |
//! | `#` | | the format of `q` to `z` |
//! | `Pp` | name of a plugin | plugin |
//! | `Pj` | number (u64) | an event that plugins may have to hear of |
//! | `PJ` | | how far these were dealt with |
//! | `Pw` | name of a plugin, number of a delivery | the suite; the delivery waits |
//! | `Pd` | name of a plugin, inverted number | delivery |
//! | `Pk` | name of a plugin, name of a value | what the plugin keeps under it |
//! | `Pt` | suite, what its runs were restricted to | the trouble that it is in |
//! | `Pg` | run id | what the gates said to the run |
//! | `Pa` | run id, number of a delivery | what a plugin said of the run |
//! | `k` | digest of an idempotency key | what it made |
//! | `K` | time, digest of an idempotency key | |

use jiff::Timestamp;

use crate::model::{Digest, Name, RunId, RunStatus, Stage, SuiteId};
use crate::statistics::State;

/// The format of the whole store.
pub(super) const LAYOUT: &[u8] = b"!";

/// The n-th continuation, from 0, of the value of `key`.
pub(super) fn continuation(key: &[u8], n: u32) -> Vec<u8> {
    [b"+", key, &n.to_be_bytes()].concat()
}

/// A name cannot hold a zero byte, so that no suite's keys start with another's.
fn of_suite(table: &[u8], suite: &SuiteId) -> Vec<u8> {
    [table, suite.to_string().as_bytes(), &[0]].concat()
}

/// Time as 8 bytes that sort as the time does, in microseconds.
pub(super) fn time(at: Timestamp) -> [u8; 8] {
    ((at.as_microsecond() as u64) ^ (1 << 63)).to_be_bytes()
}

/// The time that became these bytes.
pub(super) fn read_time(bytes: [u8; 8]) -> Timestamp {
    let micros = (u64::from_be_bytes(bytes) ^ (1 << 63)) as i64;
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX)
}

pub(super) fn inverted<const N: usize>(bytes: &[u8; N]) -> [u8; N] {
    bytes.map(|byte| !byte)
}

/// The start of the keys of all versions of all suites.
pub(super) const VERSIONS: &[u8] = b"v";

pub(super) fn version(suite: &SuiteId, digest: &Digest) -> Vec<u8> {
    [of_suite(VERSIONS, suite).as_slice(), digest.as_bytes()].concat()
}

/// What comes behind the keys of all versions of a suite.
pub(super) fn after_versions(suite: &SuiteId) -> Vec<u8> {
    [VERSIONS, suite.to_string().as_bytes(), &[1]].concat()
}

/// The suite of a version's key.
pub(super) fn read_version_suite(key: &[u8]) -> Option<SuiteId> {
    let suite = key.strip_prefix(VERSIONS)?.split(|byte| *byte == 0).next()?;
    std::str::from_utf8(suite).ok()?.parse().ok()
}

/// The digest at the end of a version's key.
pub(super) fn read_version(key: &[u8]) -> Option<Digest> {
    Some(Digest::from_bytes(*key.last_chunk()?))
}

/// The start of the keys of all fixtures.
pub(super) const FIXTURES: &[u8] = b"f";

pub(super) fn fixtures(suite: &SuiteId, version: &Digest) -> Vec<u8> {
    [of_suite(FIXTURES, suite).as_slice(), version.as_bytes()].concat()
}

/// The start of the keys of a suite's versions, newest first.
pub(super) fn versions(suite: &SuiteId) -> Vec<u8> {
    of_suite(b"V", suite)
}

pub(super) fn version_at(suite: &SuiteId, at: Timestamp, digest: &Digest) -> Vec<u8> {
    [versions(suite).as_slice(), &inverted(&time(at)), digest.as_bytes()].concat()
}

/// Time and digest from what follows [`versions`] in a key.
pub(super) fn read_version_at(rest: &[u8]) -> Option<(Timestamp, Digest)> {
    let (at, digest) = rest.split_first_chunk::<8>()?;
    Some((read_time(inverted(at)), Digest::from_bytes(digest.try_into().ok()?)))
}

/// The start of the keys of the list of suites.
pub(super) const SUITES: &[u8] = b"S";

pub(super) fn suite_at(at: Timestamp, suite: &SuiteId) -> Vec<u8> {
    [SUITES, &inverted(&time(at)), suite.to_string().as_bytes()].concat()
}

/// The suite from what follows [`SUITES`] in a key.
pub(super) fn read_suite_at(rest: &[u8]) -> Option<SuiteId> {
    std::str::from_utf8(rest.get(8..)?).ok()?.parse().ok()
}

pub(super) fn policy(suite: &SuiteId) -> Vec<u8> {
    of_suite(b"p", suite)
}

pub(super) fn marks(suite: &SuiteId) -> Vec<u8> {
    of_suite(b"m", suite)
}

/// The start of the keys of all highest run numbers: one for each suite that ever had a run.
pub(super) const HIGHEST_NUMBERS: &[u8] = b"n";

pub(super) fn highest_number(suite: &SuiteId) -> Vec<u8> {
    of_suite(HIGHEST_NUMBERS, suite)
}

/// The suite of such a key; none if it is another.
pub(super) fn read_highest_number(key: &[u8]) -> Option<SuiteId> {
    let suite = key.strip_prefix(HIGHEST_NUMBERS)?.strip_suffix(&[0])?;
    std::str::from_utf8(suite).ok()?.parse().ok()
}

/// Where a run of a suite is found by its number: the key, and which of the numbers under it.
pub(super) fn numbers(suite: &SuiteId, number: u64) -> (Vec<u8>, u8) {
    let key = [of_suite(b"o", suite), (number / 64).to_be_bytes().to_vec()].concat();
    (key, (number % 64) as u8)
}

/// The start of the keys by which stores of format 2 found runs by their number.
pub(super) const NUMBERS_OF_2: &[u8] = b"N";

/// Suite and number of such a key.
pub(super) fn read_number_of_2(key: &[u8]) -> Option<(SuiteId, u64)> {
    let (suite, number) = key.strip_prefix(NUMBERS_OF_2)?.split_last_chunk()?;
    let suite = std::str::from_utf8(suite.strip_suffix(&[0])?).ok()?;
    Some((suite.parse().ok()?, u64::from_be_bytes(*number)))
}

/// The start of the keys of all summaries, newest run first.
pub(super) const RUNS: &[u8] = b"r";

pub(super) fn run(run: RunId) -> Vec<u8> {
    [RUNS, &inverted(run.as_bytes())].concat()
}

/// A run's place in lists: the newest comes first.
pub(super) fn place(run: RunId) -> [u8; 16] {
    inverted(run.as_bytes())
}

/// The run from the inverted id at the end of a key.
pub(super) fn read_run(rest: &[u8]) -> Option<RunId> {
    Some(RunId::from_bytes(inverted(rest.try_into().ok()?)))
}

/// The start of the keys of all lists of runs but that of all.
pub(super) const LISTS: &[u8] = b"i";

/// The start of the keys of the runs with all of what is given, newest first. Nothing given: all
/// runs. The reference is free text of any length, and stands in the key as half its digest.
pub(super) fn runs_with(
    suite: Option<&SuiteId>,
    status: Option<RunStatus>,
    reference: Option<&str>,
) -> Vec<u8> {
    let which = u8::from(suite.is_some())
        | u8::from(status.is_some()) << 1
        | u8::from(reference.is_some()) << 2;
    if which == 0 {
        return RUNS.to_vec();
    }
    let mut key = vec![b'i', which];
    if let Some(suite) = suite {
        key.extend_from_slice(suite.to_string().as_bytes());
        key.push(0);
    }
    if let Some(status) = status {
        key.push(status_byte(status));
    }
    if let Some(reference) = reference {
        key.extend_from_slice(&Digest::of(reference.as_bytes()).as_bytes()[..16]);
    }
    key
}

/// Every list that a run is in, less that of all.
pub(super) fn lists_of(
    suite: &SuiteId,
    status: RunStatus,
    reference: Option<&str>,
) -> Vec<Vec<u8>> {
    let mut lists = Vec::with_capacity(7);
    for suite in [None, Some(suite)] {
        for status in [None, Some(status)] {
            // A run without a reference is in no list by reference.
            for reference in
                [None, reference].into_iter().take(1 + usize::from(reference.is_some()))
            {
                let list = runs_with(suite, status, reference);
                lists.extend((list != RUNS).then_some(list));
            }
        }
    }
    lists
}

/// Stored: a status keeps its number.
fn status_byte(status: RunStatus) -> u8 {
    match status {
        RunStatus::Queued => 0,
        RunStatus::Running => 1,
        RunStatus::Passed => 2,
        RunStatus::Failed => 3,
        RunStatus::Error => 4,
        RunStatus::Cancelled => 5,
    }
}

/// The start of the keys of all schedules, by name.
pub(super) const SCHEDULES: &[u8] = b"c";

pub(super) fn schedule(name: &Name) -> Vec<u8> {
    [SCHEDULES, name.as_str().as_bytes()].concat()
}

/// The start of the keys of what became of a schedule's times, the last first.
pub(super) fn due_rows(schedule: &Name) -> Vec<u8> {
    [b"C", schedule.as_str().as_bytes(), &[0]].concat()
}

pub(super) fn due_row(schedule: &Name, due_at: Timestamp) -> Vec<u8> {
    [due_rows(schedule).as_slice(), &inverted(&time(due_at))].concat()
}

/// The start of the keys of all triggers, by name.
pub(super) const TRIGGERS: &[u8] = b"Tt";

pub(super) fn trigger(name: &Name) -> Vec<u8> {
    [TRIGGERS, name.as_str().as_bytes()].concat()
}

fn of_trigger(table: &[u8], trigger: &Name) -> Vec<u8> {
    [table, trigger.as_str().as_bytes(), &[0]].concat()
}

/// The start of the keys of what became of a trigger's calls, the last first.
pub(super) fn call_rows(trigger: &Name) -> Vec<u8> {
    of_trigger(b"Tr", trigger)
}

pub(super) fn call_row(trigger: &Name, at: Timestamp) -> Vec<u8> {
    [call_rows(trigger).as_slice(), &inverted(&time(at))].concat()
}

/// The time at the end of a row's key.
pub(super) fn read_call_row(key: &[u8]) -> Option<Timestamp> {
    Some(read_time(inverted(key.last_chunk()?)))
}

/// The start of the keys of calls to a trigger that were not signed, oldest first.
pub(super) fn unsigned_calls(trigger: &Name) -> Vec<u8> {
    of_trigger(b"Tu", trigger)
}

pub(super) fn unsigned_call(trigger: &Name, at: Timestamp) -> Vec<u8> {
    [unsigned_calls(trigger).as_slice(), &time(at)].concat()
}

/// The time at the end of such a key.
pub(super) fn read_unsigned_call(key: &[u8]) -> Option<Timestamp> {
    Some(read_time(*key.last_chunk()?))
}

pub(super) fn delivery(trigger: &Name, mark: &Digest) -> Vec<u8> {
    [of_trigger(b"Td", trigger).as_slice(), mark.as_bytes()].concat()
}

/// The start of the keys of the deliveries to a trigger that are known, oldest first.
pub(super) fn deliveries(trigger: &Name) -> Vec<u8> {
    of_trigger(b"TD", trigger)
}

pub(super) fn delivery_at(trigger: &Name, at: Timestamp, mark: &Digest) -> Vec<u8> {
    [deliveries(trigger).as_slice(), &time(at), mark.as_bytes()].concat()
}

/// The mark at the end of such a key.
pub(super) fn read_delivery_at(key: &[u8]) -> Option<Digest> {
    Some(Digest::from_bytes(*key.last_chunk()?))
}

/// The starts of all keys that go with a trigger, beside its own.
pub(super) fn beside_trigger(trigger: &Name) -> [Vec<u8>; 4] {
    [b"Tr", b"Tu", b"Td", b"TD"].map(|table| of_trigger(table, trigger))
}

/// The start of the keys of all runs that are not finished, oldest first.
pub(super) const UNFINISHED: &[u8] = b"u";

pub(super) fn unfinished(run: RunId) -> Vec<u8> {
    [UNFINISHED, run.as_bytes()].concat()
}

/// The run from what follows [`UNFINISHED`] in a key.
pub(super) fn read_unfinished(rest: &[u8]) -> Option<RunId> {
    Some(RunId::from_bytes(rest.try_into().ok()?))
}

/// The start of the keys of all pages of events.
pub(super) const PAGES: &[u8] = b"e";

/// The start of the keys of a run's pages of events, in order.
pub(super) fn pages(run: RunId) -> Vec<u8> {
    [PAGES, run.as_bytes()].concat()
}

/// The run of a page's key.
pub(super) fn read_page_run(key: &[u8]) -> Option<RunId> {
    Some(RunId::from_bytes(*key.strip_prefix(PAGES)?.first_chunk()?))
}

pub(super) fn page(run: RunId, first_seq: u64) -> Vec<u8> {
    [pages(run).as_slice(), &first_seq.to_be_bytes()].concat()
}

/// The number of the first event from what follows [`pages`] in a key.
pub(super) fn read_page(rest: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(rest.try_into().ok()?))
}

/// A test's name is up to 512 bytes; half its digest stands for it.
pub(super) fn detail(run: RunId, stage: &Stage, round: u32, number: u32) -> Vec<u8> {
    let (kind, name) = match stage {
        Stage::Setup => (0, [0; 16]),
        Stage::Test(name) => {
            let mut half = [0; 16];
            half.copy_from_slice(&Digest::of(name.as_bytes()).as_bytes()[..16]);
            (1, half)
        }
        Stage::Teardown => (2, [0; 16]),
    };
    [b"d", run.as_bytes().as_slice(), &[kind], &name, &round.to_be_bytes(), &number.to_be_bytes()]
        .concat()
}

/// The format of what is derived from runs.
pub(super) const COUNTED: &[u8] = b"#";

/// The tables of what is derived from runs.
pub(super) const DERIVED: [&[u8]; 6] = [b"q", b"Q", b"w", b"g", b"G", b"z"];

/// How many tests and groups of failures of a suite are kept.
pub(super) fn sizes(suite: &SuiteId) -> Vec<u8> {
    of_suite(b"z", suite)
}

/// The start of the keys of what is known of a suite's tests, by name; the suite itself comes first.
pub(super) fn series_of(suite: &SuiteId) -> Vec<u8> {
    of_suite(b"q", suite)
}

pub(super) fn series(suite: &SuiteId, test: &str) -> Vec<u8> {
    [series_of(suite).as_slice(), test.as_bytes()].concat()
}

/// The start of the keys of the results of a test, whose name has no zero byte; the oldest first.
pub(super) fn samples(suite: &SuiteId, test: &str) -> Vec<u8> {
    [of_suite(b"Q", suite).as_slice(), test.as_bytes(), &[0]].concat()
}

pub(super) fn sample(suite: &SuiteId, test: &str, place: u64) -> Vec<u8> {
    [samples(suite, test).as_slice(), &place.to_be_bytes()].concat()
}

/// The place at the end of a result's key.
pub(super) fn read_sample(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*key.last_chunk()?))
}

/// The start of the keys of tests in a state, of all suites or one.
pub(super) fn tests_in(state: State, suite: Option<&SuiteId>) -> Vec<u8> {
    // Stored: a state keeps its number.
    let state = match state {
        State::Steady => 0,
        State::Flaky => 1,
        State::Broken => 2,
    };
    suite.map_or_else(|| vec![b'w', state], |suite| of_suite(&[b'w', state], suite))
}

pub(super) fn test_in(state: State, suite: &SuiteId, test: &str) -> Vec<u8> {
    [tests_in(state, Some(suite)).as_slice(), test.as_bytes()].concat()
}

/// Suite and test from what follows the state in a key of the above.
pub(super) fn read_test_in(rest: &[u8]) -> Option<(SuiteId, String)> {
    let (suite, test) = std::str::from_utf8(rest).ok()?.split_once('\0')?;
    Some((suite.parse().ok()?, test.to_owned()))
}

pub(super) fn group(suite: &SuiteId, id: &[u8; 16]) -> Vec<u8> {
    [of_suite(b"g", suite).as_slice(), id].concat()
}

/// The start of the keys of a suite's groups of failures, the one that was last seen first.
pub(super) fn groups(suite: &SuiteId) -> Vec<u8> {
    of_suite(b"G", suite)
}

pub(super) fn group_at(suite: &SuiteId, at: Timestamp, id: &[u8; 16]) -> Vec<u8> {
    [groups(suite).as_slice(), &inverted(&time(at)), id].concat()
}

/// The fingerprint at the end of a group's key.
pub(super) fn read_group(key: &[u8]) -> Option<[u8; 16]> {
    key.last_chunk().copied()
}

/// The start of the keys of the runs that have an artifact.
pub(super) fn artifact_users(artifact: &Digest) -> Vec<u8> {
    [b"a", artifact.as_bytes().as_slice()].concat()
}

pub(super) fn artifact_user(artifact: &Digest, run: RunId) -> Vec<u8> {
    [artifact_users(artifact).as_slice(), run.as_bytes()].concat()
}

/// The start of the keys of all pins.
pub(super) const PINS: &[u8] = b"I";

pub(super) fn pin(run: RunId) -> Vec<u8> {
    [PINS, run.as_bytes()].concat()
}

/// The start of the keys of the runs that are forgotten and of which something is left.
pub(super) const LEAVING: &[u8] = b"x";

pub(super) fn leaving(run: RunId) -> Vec<u8> {
    [LEAVING, run.as_bytes()].concat()
}

/// The run at the end of a key that ends with its id as it is.
pub(super) fn ending_run(key: &[u8]) -> Option<RunId> {
    Some(RunId::from_bytes(*key.last_chunk()?))
}

/// The starts of all keys of what a run left beside its summary and its places in lists: first its events,
/// and last their further parts, which are read with them.
pub(super) fn left_by(run: RunId) -> [Vec<u8>; 8] {
    let of = |table: &[u8]| [table, run.as_bytes().as_slice()].concat();
    [b"e".as_slice(), b"d", b"Pg", b"Pa", b"+Pa", b"+Pg", b"+d", b"+e"].map(of)
}

/// The start of the keys of all plugins, by name.
pub(super) const PLUGINS: &[u8] = b"Pp";

pub(super) fn plugin(name: &Name) -> Vec<u8> {
    [PLUGINS, name.as_str().as_bytes()].concat()
}

/// The start of the keys of the journal, in order.
pub(super) const JOURNAL: &[u8] = b"Pj";

pub(super) fn journal(number: u64) -> Vec<u8> {
    [JOURNAL, &number.to_be_bytes()].concat()
}

/// The number from a key of the journal.
pub(super) fn read_journal(key: &[u8]) -> Option<u64> {
    read_number(key.strip_prefix(JOURNAL)?)
}

/// How far the journal was dealt with.
pub(super) const ROUTING: &[u8] = b"PJ";

fn of_plugin(table: &[u8], plugin: &Name) -> Vec<u8> {
    [table, plugin.as_str().as_bytes(), &[0]].concat()
}

/// The start of the keys of a plugin's deliveries that wait, in order.
pub(super) fn waiting(plugin: &Name) -> Vec<u8> {
    of_plugin(b"Pw", plugin)
}

pub(super) fn waits(plugin: &Name, number: u64) -> Vec<u8> {
    [waiting(plugin).as_slice(), &number.to_be_bytes()].concat()
}

/// The start of the keys of a plugin's deliveries, the newest first.
pub(super) fn plugin_deliveries(plugin: &Name) -> Vec<u8> {
    of_plugin(b"Pd", plugin)
}

pub(super) fn plugin_delivery(plugin: &Name, number: u64) -> Vec<u8> {
    [plugin_deliveries(plugin).as_slice(), &(!number).to_be_bytes()].concat()
}

/// The number at the end of a key.
pub(super) fn read_number(rest: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(rest.try_into().ok()?))
}

/// The start of the keys of what a plugin keeps.
pub(super) fn kept(plugin: &Name) -> Vec<u8> {
    of_plugin(b"Pk", plugin)
}

/// The start of the keys of a suite's troubles.
pub(super) fn troubles(suite: &SuiteId) -> Vec<u8> {
    of_suite(b"Pt", suite)
}

pub(super) fn trouble(suite: &SuiteId, scope: &str) -> Vec<u8> {
    [troubles(suite).as_slice(), scope.as_bytes()].concat()
}

pub(super) fn gated(run: RunId) -> Vec<u8> {
    [b"Pg", run.as_bytes().as_slice()].concat()
}

/// The start of the keys of what plugins said of a run.
pub(super) fn annotations(run: RunId) -> Vec<u8> {
    [b"Pa", run.as_bytes().as_slice()].concat()
}

pub(super) fn annotation(run: RunId, number: u64) -> Vec<u8> {
    [annotations(run).as_slice(), &number.to_be_bytes()].concat()
}

pub(super) fn idempotency(key: &Digest) -> Vec<u8> {
    [b"k", key.as_bytes().as_slice()].concat()
}

/// The start of the keys of all idempotency keys, oldest first.
pub(super) const IDEMPOTENCY_BY_TIME: &[u8] = b"K";

pub(super) fn idempotency_at(at: Timestamp, key: &Digest) -> Vec<u8> {
    [IDEMPOTENCY_BY_TIME, &time(at), key.as_bytes()].concat()
}

/// Time and digest from what follows [`IDEMPOTENCY_BY_TIME`] in a key.
pub(super) fn read_idempotency_at(rest: &[u8]) -> Option<(Timestamp, Digest)> {
    let (at, key) = rest.split_first_chunk::<8>()?;
    Some((read_time(*at), Digest::from_bytes(key.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_sorts_first_in_lists_and_last_in_queues() {
        let (older, newer) = (RunId::new(), RunId::new());
        assert!(run(newer) < run(older));
        assert!(unfinished(newer) > unfinished(older));
        assert!(page(older, 2) < page(older, 256));
        let suite: SuiteId = "a/b".parse().unwrap();
        let digest = Digest::of(b"x");
        let (early, late) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(1).unwrap());
        assert!(version_at(&suite, late, &digest) < version_at(&suite, early, &digest));
        assert!(suite_at(late, &suite) < suite_at(early, &suite));
        assert!(idempotency_at(late, &digest) > idempotency_at(early, &digest));
        assert!(time(Timestamp::from_second(-1).unwrap()) < time(early));
    }

    #[test]
    fn what_a_key_holds_is_read_back() {
        let suite: SuiteId = "a/b".parse().unwrap();
        let digest = Digest::of(b"x");
        let at = Timestamp::from_microsecond(1_234_567).unwrap();
        assert_eq!(read_version(&version(&suite, &digest)), Some(digest));
        let key = version_at(&suite, at, &digest);
        assert_eq!(read_version_at(&key[versions(&suite).len()..]), Some((at, digest)));
        assert_eq!(read_suite_at(&suite_at(at, &suite)[1..]), Some(suite));
        let id = RunId::new();
        assert_eq!(read_run(&run(id)[1..]), Some(id));
        assert_eq!(read_unfinished(&unfinished(id)[1..]), Some(id));
        assert_eq!(read_page(&page(id, 7)[17..]), Some(7));
        let old = b"Na/b\0\0\0\0\0\0\0\x01\x02";
        assert_eq!(read_number_of_2(old), Some(("a/b".parse().unwrap(), 258)));
        assert_eq!(read_idempotency_at(&idempotency_at(at, &digest)[1..]), Some((at, digest)));
        let name: Name = "deployed".parse().unwrap();
        assert_eq!(read_call_row(&call_row(&name, at)), Some(at));
        assert_eq!(read_unsigned_call(&unsigned_call(&name, at)), Some(at));
        assert_eq!(read_delivery_at(&delivery_at(&name, at, &digest)), Some(digest));
        assert_eq!(read_run(b"short"), None);
    }

    #[test]
    fn no_suites_keys_start_with_anothers() {
        let (short, long): (SuiteId, SuiteId) = ("a/b".parse().unwrap(), "a/bc".parse().unwrap());
        assert!(!versions(&long).starts_with(&versions(&short)));
        let status = Some(RunStatus::Queued);
        let list = runs_with(Some(&short), status, None);
        assert!(!runs_with(Some(&long), status, None).starts_with(&list));
    }

    #[test]
    fn a_run_is_in_one_list_for_each_combination() {
        let suite: SuiteId = "a/b".parse().unwrap();
        let lists = lists_of(&suite, RunStatus::Passed, Some("main"));
        let distinct: std::collections::BTreeSet<_> = lists.iter().collect();
        assert_eq!(distinct.len(), 7);
        assert_eq!(lists_of(&suite, RunStatus::Passed, None).len(), 3);
        for suite in [None, Some(&suite)] {
            for status in [None, Some(RunStatus::Passed)] {
                for reference in [None, Some("main")] {
                    let start = runs_with(suite, status, reference);
                    let found = lists.iter().filter(|list| **list == start).count();
                    assert_eq!(found, usize::from(start != RUNS));
                }
            }
        }
    }

    #[test]
    fn each_attempt_has_its_own_detail() {
        let id = RunId::new();
        let test = |name: &str| Stage::Test(name.into());
        let keys = [
            detail(id, &Stage::Setup, 1, 1),
            detail(id, &Stage::Teardown, 1, 1),
            detail(id, &test("a"), 1, 1),
            detail(id, &test("b"), 1, 1),
            detail(id, &test("a"), 1, 2),
            detail(id, &test("a"), 2, 1),
        ];
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }
}
