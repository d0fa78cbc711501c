//! Ten small tests, as people write them: what a suite weighs.

use handoff_sdk::{Context, Result, ensure, ensure_eq, info, skip};

handoff_sdk::suite! { name: "ten" }

#[handoff_sdk::test]
fn adds() {
    assert_eq!(2_u32.pow(10), 1024);
}

#[handoff_sdk::test]
fn splits() {
    assert_eq!("a,b".split(',').collect::<Vec<_>>(), ["a", "b"]);
}

#[handoff_sdk::test]
fn sorts() {
    let mut numbers = vec![3, 1, 2];
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3]);
}

#[handoff_sdk::test]
fn parses() -> Result {
    let number: u16 = "8080".parse()?;
    ensure_eq!(number, 8080);
    Ok(())
}

#[handoff_sdk::test]
fn formats() {
    assert_eq!(format!("{:>5.1}", 2.25), "  2.2");
}

#[handoff_sdk::test(attempts = 2)]
fn counts_attempts(cx: &Context) {
    assert!(cx.attempt() >= 1);
}

#[handoff_sdk::test]
fn logs() {
    info!("logged");
    println!("printed");
}

#[handoff_sdk::test]
fn keeps_values(cx: &Context) -> Result {
    cx.set("answer", &42)?;
    ensure_eq!(cx.require::<u32>("answer")?, 42);
    Ok(())
}

#[handoff_sdk::test]
fn skips() -> Result {
    skip!("nothing to do");
}

#[handoff_sdk::test(soft)]
fn is_soft() -> Result {
    ensure!(1 + 1 == 3, "arithmetic still works");
    Ok(())
}
