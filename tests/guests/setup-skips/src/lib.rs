//! A setup that skips.

use handoff_sdk::{Result, skip};

handoff_sdk::suite! { name: "setup-skips" }

#[handoff_sdk::setup]
fn setup() -> Result {
    skip!("SETUP SKIPPED ON PURPOSE");
}

#[handoff_sdk::test]
fn never_runs() {
    panic!("RAN WITHOUT SETUP");
}

#[handoff_sdk::test]
fn never_runs_either() {
    panic!("RAN WITHOUT SETUP");
}
