//! A setup that fails. With the parameter `long` its message is long, and teardown fails with one too.

use handoff_sdk::Context;

handoff_sdk::suite! { name: "setup-fails" }

#[handoff_sdk::setup]
fn setup(cx: &Context) -> Result<(), String> {
    Err(format!("SETUP FAILED ON PURPOSE{}", at_length(cx)))
}

#[handoff_sdk::test]
fn never_runs() {
    panic!("RAN WITHOUT SETUP");
}

#[handoff_sdk::teardown]
fn teardown(cx: &Context) -> Result<(), String> {
    println!("TEARDOWN RAN");
    match at_length(cx) {
        none if none.is_empty() => Ok(()),
        words => Err(format!("TEARDOWN FAILED ON PURPOSE{words}")),
    }
}

fn at_length(cx: &Context) -> String {
    cx.param("long").map_or_else(String::new, |_| " AT LENGTH".repeat(1_000))
}
