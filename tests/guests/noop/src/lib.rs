//! One test that does nothing: what an attempt costs by itself.

handoff_sdk::suite! { name: "noop" }

#[handoff_sdk::test]
fn nothing() {}
