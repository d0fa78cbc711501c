//! Lists against sets, whatever comes and goes in which order.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::*;

const LIST: &[u8] = b"i\x01team/hello\0";
/// Lists whose keys stand right before and behind.
const AROUND: [&[u8]; 2] = [b"i\x01team/hellm\0", b"i\x01team/hellp\0"];

struct Stage {
    _dir: tempfile::TempDir,
    database: Database,
}

fn stage() -> Stage {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(&dir.path().join("db"), 1 << 20).unwrap();
    Stage { _dir: dir, database }
}

impl Stage {
    fn commit(&self, mut changes: Changes) {
        let mut batch = sled::Batch::default();
        changes.stage(&self.database, &mut batch).unwrap();
        self.database.commit(batch).unwrap();
    }

    /// How many runs each bucket has.
    fn buckets(&self) -> Vec<usize> {
        let values = self.database.scan(LIST).values();
        values.map(|value| value.unwrap().len() / 16).collect()
    }

    fn assert_is(&self, runs: &BTreeSet<RunId>) {
        let newest: Vec<_> = runs.iter().rev().copied().collect();
        assert_eq!(super::newest(&self.database, LIST, None, usize::MAX).unwrap(), newest);
        let oldest: Vec<_> = runs.iter().copied().collect();
        assert_eq!(super::oldest(&self.database, LIST, None, usize::MAX).unwrap(), oldest);
        for n in [0, 1, newest.len() / 2, newest.len().saturating_sub(1), newest.len()] {
            let found = nth_newest(&self.database, LIST, n).unwrap();
            assert_eq!(found, newest.get(n).copied(), "{n}");
        }
        assert!(self.buckets().iter().all(|bucket| (1..=MOST).contains(bucket)));
    }
}

/// Runs in the order in which they came.
fn runs(count: u128) -> Vec<RunId> {
    (1..=count).map(|n| RunId::from_bytes((n << 64).to_be_bytes())).collect()
}

#[test]
fn a_list_has_what_entered_and_did_not_leave_in_order() {
    for seed in 0..8 {
        let mut random = StdRng::seed_from_u64(seed);
        let stage = stage();
        let all = runs(600);
        let mut order = all.clone();
        if seed % 2 == 1 {
            order.shuffle(&mut random);
        }
        let mut expected = BTreeSet::new();
        for part in order.chunks(50) {
            let mut changes = Changes::default();
            for run in part {
                AROUND.iter().for_each(|list| changes.enter(list.to_vec(), *run));
                changes.enter(LIST.to_vec(), *run);
                expected.insert(*run);
                let other = all[random.random_range(0..all.len())];
                if random.random_bool(0.4) {
                    changes.leave(LIST.to_vec(), other);
                    expected.remove(&other);
                }
            }
            stage.commit(changes);
            stage.assert_is(&expected);
        }
        // From anywhere, whether that run is in it or not.
        for _ in 0..50 {
            let from = all[random.random_range(0..all.len())];
            let older: Vec<_> = expected.range(..from).rev().take(7).copied().collect();
            assert_eq!(newest(&stage.database, LIST, Some(from), 7).unwrap(), older);
            let newer = expected.range(from..).filter(|run| **run != from).take(7);
            let newer: Vec<_> = newer.copied().collect();
            assert_eq!(oldest(&stage.database, LIST, Some(from), 7).unwrap(), newer);
        }
        // All of them go, the oldest first, as retention has it.
        for run in expected.clone() {
            let mut changes = Changes::default();
            changes.leave(LIST.to_vec(), run);
            stage.commit(changes);
            expected.remove(&run);
        }
        stage.assert_is(&expected);
        assert_eq!(stage.buckets(), [] as [usize; 0]);
    }
}

#[test]
fn runs_that_come_in_order_fill_their_buckets() {
    let stage = stage();
    for run in runs(10 * MOST as u128) {
        let mut changes = Changes::default();
        changes.enter(LIST.to_vec(), run);
        stage.commit(changes);
    }
    assert!(stage.buckets().len() <= 11, "{:?}", stage.buckets());
}

#[test]
fn a_run_is_found_by_its_number_as_long_as_it_has_it() {
    let stage = stage();
    let (suite, other): (SuiteId, SuiteId) = ("a/b".parse().unwrap(), "a/bc".parse().unwrap());
    let all = runs(200);
    for (number, run) in (1..).zip(&all) {
        let mut changes = Changes::default();
        changes.number(&suite, number, *run);
        stage.commit(changes);
    }
    let find = |suite, number| numbered(&stage.database, suite, number).unwrap();
    assert_eq!((find(&suite, 64), find(&suite, 200)), (Some(all[63]), Some(all[199])));
    assert_eq!((find(&suite, 201), find(&other, 64)), (None, None));
    let mut changes = Changes::default();
    // It is another's by now.
    changes.no_number(&suite, 65, all[0]);
    changes.no_number(&suite, 64, all[63]);
    stage.commit(changes);
    assert_eq!((find(&suite, 64), find(&suite, 65)), (None, Some(all[64])));
}

#[test]
fn lists_with_a_key_for_each_run_are_packed_and_read_the_same_meanwhile() {
    let stage = stage();
    let all = runs(300);
    let suite: SuiteId = "team/hello".parse().unwrap();
    let mut batch = sled::Batch::default();
    for (number, run) in (1_u64..).zip(&all) {
        for list in [LIST, AROUND[0], AROUND[1]] {
            batch.insert([list, &place(*run)].concat(), &[]);
        }
        let number = number.to_be_bytes();
        let key = [b"Nteam/hello\0".as_slice(), &number].concat();
        batch.insert(key, run.as_bytes());
    }
    stage.database.commit(batch).unwrap();
    // As one that was cut off in the midst of it.
    let mut changes = Changes::default();
    let mut expected: BTreeSet<_> = all.iter().copied().collect();
    for run in &all[100..110] {
        changes.leave(LIST.to_vec(), *run);
        expected.remove(run);
    }
    changes.number(&suite, 7, all[6]);
    stage.commit(changes);
    assert_eq!(newest(&stage.database, LIST, None, usize::MAX).unwrap().len(), expected.len());

    for _ in 0..2 {
        pack(&stage.database, 50).unwrap();
        stage.assert_is(&expected);
        assert_eq!(stage.buckets().len(), 290_usize.div_ceil(MOST));
        for (number, run) in (1..).zip(&all) {
            assert_eq!(numbered(&stage.database, &suite, number).unwrap(), Some(*run));
        }
        assert_eq!(stage.database.scan(keys::NUMBERS_OF_2).count(), 0);
        assert_eq!(oldest(&stage.database, AROUND[1], None, usize::MAX).unwrap(), all);
    }
}
