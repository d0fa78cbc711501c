//! A setup that fails.

handoff_sdk::suite! { name: "setup-fails" }

#[handoff_sdk::setup]
fn setup() -> Result<(), &'static str> {
    Err("SETUP FAILED ON PURPOSE")
}

#[handoff_sdk::test]
fn never_runs() {
    panic!("RAN WITHOUT SETUP");
}

#[handoff_sdk::teardown]
fn teardown() {
    println!("TEARDOWN RAN");
}
